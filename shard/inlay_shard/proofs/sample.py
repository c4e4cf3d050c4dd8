"""A prompt with pictures that nobody sent, to try a model with."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from inlay_shard.errors import ModelRefused, PreparationRefused
from inlay_shard.images.preparation import Prepared
from inlay_shard.images.preparers import find_preparer
from inlay_shard.images.recipe import Piece

SIZES = ((224, 40), (40, 168))
"""Width and height of the pictures: narrow, since squares are cut into the most tiles."""
_LARGEST = (2048, 2048)
"""A picture that most processors make smaller."""
_MAX_PIXELS = 4_000_000
"""Numbers that a processor makes of the two pictures, above which one must do."""


def sample(folder: Path, plugins: Sequence[str] = ()) -> Prepared:
    """Two pictures between words, or one where a processor makes much of them.

    They have one size where what is made of each is only joined, as by an adapter.

    Raises ModelRefused when the processor of the model folder cannot use them.
    """
    preparer = find_preparer(folder, plugins)
    if preparer is None:
        raise ModelRefused("its processor takes no images")
    sizes = SIZES[:1] * 2 if preparer.recipe.can_splice else SIZES
    first, second = (_picture(width, height) for width, height in sizes)
    several: list[Piece] = ["see ", first, " and ", second, " there"]
    try:
        prepared = preparer.prepare(several, True)
        if num_pixels(prepared) > _MAX_PIXELS:
            prepared = preparer.prepare(several[:2], True)
    except PreparationRefused as refusal:
        raise ModelRefused(
            f"with two small pictures {refusal}; an adapter can say how its images are prepared "
            "(docs/adding-a-model.md)"
        ) from refusal
    return prepared


def largest_num_pixels(folder: Path, plugins: Sequence[str] = ()) -> int:
    """Numbers that the processor of the model folder makes of one picture at most, about."""
    preparer = find_preparer(folder, plugins)
    assert preparer is not None
    return num_pixels(preparer.prepare([_picture(*_LARGEST), " there"], True))


def num_pixels(prepared: Prepared) -> int:
    """Numbers in what was made of all pictures, which is pixels but for a few."""
    return sum(entry.size for entry in prepared.inputs.values())


def _picture(width: int, height: int) -> bytes:
    """A PNG with a smooth run of colours."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    colours = np.stack([across, down, 255 - across], -1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    return buffer.getvalue()
