"""Embeddings that a client computed, put where an image would stand."""

import torch
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.features import EmbeddedImage
from inlay_shard.images.frames import Frame
from inlay_shard.images.preparation import Expansion
from inlay_shard.images.recipe import Recipe
from inlay_shard.model.network import Network

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def read_embeds(embeds: pb.ImageEmbeds, recipe: Recipe, network: Network) -> EmbeddedImage:
    """What stands in a prompt for these embeddings, on the model's device.

    recipe: with its frame found, where the model has one.

    Raises PreparationRefused for a model whose images cannot be replaced so, and for embeddings
    that are no images of this model.
    """
    frame = _check_model(recipe, network)
    _check_shape(embeds, frame, network)
    token_ids = frame.around(embeds.num_tokens, recipe.image_token_id)
    expansion = Expansion(
        token_ids=token_ids, token_types={}, num_places=embeds.num_tokens, inputs={}
    )
    return EmbeddedImage(embeddings=_read(embeds, network), expansion=expansion)


def _check_model(recipe: Recipe, network: Network) -> Frame:
    if network.has_image_positions:
        raise _refusal(network, "number the tokens of an image by its rows and columns")
    if network.adds_to_layers:
        raise _refusal(network, "look at images again in their layers")
    if recipe.frame is None:
        raise _refusal(network, "lay the tokens of an image out in rows or tiles")
    return recipe.frame


def _refusal(network: Network, what: str) -> PreparationRefused:
    kind = network.config.model_type
    return PreparationRefused(
        f"`image_embeds` do not say all that is needed: models of type {kind} {what}. "
        "Send the image itself"
    )


def _check_shape(embeds: pb.ImageEmbeds, frame: Frame, network: Network) -> None:
    expected = frame.num_places
    is_counted = expected is None or embeds.num_tokens == expected
    if not is_counted or embeds.width != network.hidden_size:
        size = "image_feature_size" if expected is None else expected
        raise PreparationRefused(
            f"`image_embeds` must have the shape (num_images, {size}, {network.hidden_size}) for "
            f"this model. Given: {embeds.num_tokens} embeddings of {embeds.width} numbers an image"
        )


def _read(embeds: pb.ImageEmbeds, network: Network) -> Tensor:
    """(num_tokens, width), in the type of the weights."""
    flat = torch.frombuffer(bytearray(embeds.data), dtype=_DTYPES[embeds.dtype])
    embeddings = flat.view(embeds.num_tokens, embeds.width).to(network.device, network.dtype)
    if not bool(torch.isfinite(embeddings).all()):
        kind = str(network.dtype).removeprefix("torch.")
        raise PreparationRefused(f"`image_embeds` must be finite numbers, also in {kind}")
    return embeddings
