"""What stands around the placeholders of an image, where it is the same whatever the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Frame:
    """An image in a prompt: some tokens, its placeholders in one run, some tokens."""

    before: tuple[int, ...]
    behind: tuple[int, ...]
    num_places: int | None
    """Placeholders of every image; None where they depend on the image."""

    def around(self, num_places: int, image_token_id: int) -> NDArray[np.int64]:
        """The tokens of an image with so many placeholders: (n,)."""
        placeholders = (image_token_id,) * num_places
        return np.array([*self.before, *placeholders, *self.behind], np.int64)


def find_frame(images: Sequence[NDArray[np.int64]], image_token_id: int) -> Frame | None:
    """The frame of these images, each as its tokens in a prompt (n,); None if they have no common
    one, as where rows or tiles of an image stand apart.
    """
    frames = [_frame(tokens, image_token_id) for tokens in images]
    found = [frame for frame in frames if frame is not None]
    around = {(frame.before, frame.behind) for frame in found}
    if len(found) < len(frames) or len(around) != 1:
        return None
    before, behind = around.pop()
    counts = {frame.num_places for frame in found}
    return Frame(
        before=before, behind=behind, num_places=counts.pop() if len(counts) == 1 else None
    )


def _frame(tokens: NDArray[np.int64], image_token_id: int) -> Frame | None:
    places = np.flatnonzero(tokens == image_token_id)
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 != len(places):
        return None
    return Frame(
        before=tuple(tokens[:first].tolist()),
        behind=tuple(tokens[last + 1 :].tolist()),
        num_places=len(places),
    )
