"""How far the tokens of a prompt with images see ahead."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


class View(Enum):
    """What a token sees beside itself and everything before it."""

    CAUSAL = "nothing"
    IMAGE = "the rest of its own image"
    PROMPT = "the rest of the prompt"

    def stops(self, places: NDArray[np.int64], num_tokens: int) -> NDArray[np.int32] | None:
        """Each token of a prompt sees the positions below this number: (tokens,).

        None when that is always its own position and those before it.

        Args:
            places: positions of the placeholders of images, ascending; a run of them without a
                gap is one image.
            num_tokens: of the prompt.
        """
        if self is View.CAUSAL:
            return None
        if self is View.PROMPT:
            return np.full(num_tokens, num_tokens, np.int32)
        stops = np.arange(1, num_tokens + 1, dtype=np.int32)
        for run in runs(places):
            stops[run] = run[-1] + 1
        return stops


def runs(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Ascending positions, cut where there is a gap between them."""
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)


Views: TypeAlias = Mapping[str, View]
"""By kind of layer, as `layer_types` of a configuration names them; under "" where all layers see
alike."""


def widest(views: Views) -> View:
    """What the layers see that see the most."""
    return max(views.values(), key=list(View).index, default=View.CAUSAL)
