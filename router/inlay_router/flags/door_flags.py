"""The flags that say who may come in, and what may be fetched for them."""

from ipaddress import ip_network
from pathlib import Path

from inlay_router.flags.flag import Flag

DOOR_FLAGS = (
    Flag(
        name="max-connections",
        field="max_connections",
        group="HTTP",
        help="connections of clients at a time; above it 429",
    ),
    Flag(
        name="api-key-file",
        field="api_key_file",
        group="keys and TLS",
        help="file of keys that clients may show, one a line, read again when it changes",
        type=Path,
        metavar="FILE",
        absent="none",
    ),
    Flag(
        name="tls-cert",
        aliases=("ssl-certfile",),
        field="tls_cert",
        group="keys and TLS",
        help="PEM file of a certificate chain: serve HTTPS; read again when it changes",
        type=Path,
        metavar="FILE",
        absent="plain HTTP",
    ),
    Flag(
        name="tls-key",
        aliases=("ssl-keyfile",),
        field="tls_key",
        group="keys and TLS",
        help="PEM file of its key",
        type=Path,
        metavar="FILE",
        absent="none",
    ),
    Flag(
        name="max-images",
        field="max_images",
        group="images and grammars",
        help="images in one prompt",
    ),
    Flag(
        name="max-image-bytes",
        aliases=("max-image-fetch-size",),
        field="max_image_bytes",
        group="images and grammars",
        help="bytes of one encoded image",
    ),
    Flag(
        name="max-total-image-bytes",
        field="max_total_image_bytes",
        group="images and grammars",
        help="bytes of all encoded images of one prompt together",
    ),
    Flag(
        name="max-total-image-pixels",
        field="max_total_image_pixels",
        group="images and grammars",
        help="pixels of all images of one prompt together",
    ),
    Flag(
        name="max-image-pixels",
        field="max_image_pixels",
        group="images and grammars",
        help="width x height of one image",
    ),
    Flag(
        name="image-timeout",
        field="image_timeout",
        group="images and grammars",
        help="seconds to fetch one image",
        type=float,
        metavar="S",
    ),
    Flag(
        name="allowed-image-hosts",
        field="allowed_image_hosts",
        group="images and grammars",
        help="host that images may come from; .example.org stands for all below it",
        type=str,
        metavar="HOST",
        absent="any",
        is_repeatable=True,
    ),
    Flag(
        name="allowed-image-networks",
        field="allowed_image_networks",
        group="images and grammars",
        help="private network that images may come from, such as 10.1.0.0/16",
        type=ip_network,
        metavar="NETWORK",
        absent="none",
        is_repeatable=True,
    ),
    Flag(
        name="allowed-local-images",
        field="allowed_local_images",
        group="images and grammars",
        help="folder that file: URLs may read images from",
        type=Path,
        metavar="FOLDER",
        absent="none",
    ),
)
