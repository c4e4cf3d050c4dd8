"""Proof, by examples, that a spliced prompt is what the model's processor makes of the whole."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.adapted_preparation import AdaptedPreparer
from inlay_shard.images.frames import Frame, find_frame
from inlay_shard.images.preparation import Expansion, Preparer
from inlay_shard.images.preparers import AnyPreparer
from inlay_shard.images.recipe import Piece, Recipe
from inlay_shard.images.splicing import Splicer

_OTHER_SIZES = ((64, 64), (700, 500))
"""Width and height of more images, of which the frame of all images is told."""


def prove(preparer: AnyPreparer) -> Recipe:
    """The preparer's recipe, with what is proven about splicing and the frame of images.

    Long, narrow images, as processors that cut images into tiles make few of them.
    """
    recipe = preparer.recipe
    wide, high = _image(64, 16), _image(16, 64)
    if isinstance(preparer, AdaptedPreparer):
        frame = _frame(preparer, [preparer.expand(image) for image in (wide, high)])
        return dataclasses.replace(recipe, frame=frame)
    if not recipe.tokenizer_json:
        return recipe
    apart: list[tuple[list[Piece], bool]] = [
        (["a b", wide, "c\n", high, " d. ", wide], True),
        ([high, "x\n\n", wide, "\n1"], False),
    ]
    neighbours: list[Piece] = [wide, high, "y"]
    try:
        expansions = {image: preparer.expand(image) for image in (wide, high)}
        can_splice = all(_is_equal(preparer, expansions, *one) for one in apart)
        can_splice_neighbours = can_splice and _is_equal(preparer, expansions, neighbours, True)
    except Exception:  # whatever its code meets where it was not made for it
        return recipe
    return dataclasses.replace(
        recipe,
        can_splice=can_splice,
        can_splice_neighbours=can_splice_neighbours,
        frame=_frame(preparer, list(expansions.values())) if can_splice else None,
    )


def _frame(preparer: AnyPreparer, expansions: Sequence[Expansion]) -> Frame | None:
    try:
        others = [preparer.expand(_image(*size)) for size in _OTHER_SIZES]
    except PreparationRefused:
        return None
    tokens = [expansion.token_ids for expansion in (*expansions, *others)]
    return find_frame(tokens, preparer.recipe.image_token_id)


def _image(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _is_equal(
    preparer: Preparer,
    expansions: Mapping[bytes, Expansion],
    pieces: Sequence[Piece],
    add_special_tokens: bool,
) -> bool:
    whole = preparer.prepare(pieces, add_special_tokens)
    own = [expansions[piece] for piece in pieces if isinstance(piece, bytes)]
    without_inputs = [dataclasses.replace(expansion, inputs={}) for expansion in own]
    spliced = Splicer(preparer.recipe).splice(pieces, without_inputs, add_special_tokens)
    names = {*spliced.inputs, *own[0].inputs}
    return (
        np.array_equal(whole.token_ids, spliced.token_ids)
        and np.array_equal(whole.places, spliced.places)
        and whole.spans == spliced.spans
        and whole.inputs.keys() == names
        and all(np.array_equal(whole.inputs[name], spliced.inputs[name]) for name in spliced.inputs)
        and all(
            is_joined(whole.inputs[name], [expansion.inputs[name] for expansion in own])
            for name in own[0].inputs
        )
    )


def is_joined(whole: NDArray[Any], parts: Sequence[NDArray[Any]]) -> bool:
    """Whether `whole` is the parts, one after the other along its first or its second axis, each
    padded with zeros to the size of the largest."""
    return any(_is_joined_along(axis, whole, parts) for axis in range(min(2, whole.ndim)))


def _is_joined_along(axis: int, whole: NDArray[Any], parts: Sequence[NDArray[Any]]) -> bool:
    if any(part.ndim != whole.ndim for part in parts):
        return False
    bounds = np.cumsum([part.shape[axis] for part in parts])
    if bounds[-1] != whole.shape[axis]:
        return False
    regions = np.split(whole, bounds[:-1], axis)
    return all(_is_padded(region, part) for region, part in zip(regions, parts, strict=True))


def _is_padded(region: NDArray[Any], part: NDArray[Any]) -> bool:
    if any(size < own for size, own in zip(region.shape, part.shape, strict=True)):
        return False
    padding = [(0, size - own) for size, own in zip(region.shape, part.shape, strict=True)]
    padded = np.pad(part, padding)
    return np.array_equal(region, padded)
