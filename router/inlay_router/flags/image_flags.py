"""The flags that say which images are taken, and from where."""

from argparse import ArgumentTypeError
from ipaddress import ip_network
from pathlib import Path

from inlay_router.flags.flag import COUNT, PATIENCE, Flag, Group, Kind, Switch, text
from inlay_router.images.addresses import Network


def network(text: str) -> Network:
    """A network in CIDR notation."""
    try:
        return ip_network(text)
    except ValueError:
        raise ArgumentTypeError(
            f"must be a network such as 10.1.0.0/16, without bits behind its prefix. Given: {text}"
        ) from None


IMAGES = Group(
    "images",
    (
        Flag("max-images", "images in one prompt", COUNT),
        Flag("max-image-bytes", "bytes of one encoded image", aliases=("max-image-fetch-size",)),
        Flag("max-image-pixels", "width x height of one image"),
        Flag("max-total-image-bytes", "bytes of all encoded images of one prompt together"),
        Flag("max-total-image-pixels", "pixels of all images of one prompt together"),
        Flag("image-timeout", "seconds to fetch one image", PATIENCE),
        Flag(
            "allowed-image-hosts",
            "host that images may come from; .example.org stands for all below it",
            text("HOST"),
            absent="any",
            is_repeatable=True,
        ),
        Flag(
            "allowed-image-networks",
            "private network that images may come from, such as 10.1.0.0/16",
            Kind(network, "NETWORK"),
            absent="none",
            is_repeatable=True,
        ),
        Flag(
            "allowed-local-images",
            "folder that file: URLs may read images from",
            Kind(Path, "FOLDER"),
            absent="none",
        ),
    ),
    (
        Switch(
            "allow-private-images",
            "fetch images from private addresses too; for development only",
            "has_private_images",
        ),
        Switch(
            "allow-image-embeds",
            "take embeddings in an image's stead (docs/image-embeds.md)",
            "has_image_embeds",
        ),
        Switch(
            "chat-markdown-images",
            "take ![](url) in the text of a chat for an image, as TGI does",
            "has_chat_markdown_images",
        ),
    ),
)
