"""Where to cut a distribution, found without sorting it."""

import numpy as np

from inlay_kernels.compiled import compiled
from inlay_kernels.scan import highest

_NUM_BINS = 2048
_BIN_WIDTH = 1 / 64
"""In units of the keys, which are logarithms; the last bin takes all below the others."""


@compiled(makes_arrays=True)
def cut(keys, weights, target):  # type: ignore[no-untyped-def]
    """Smallest key of the smallest set of highest keys whose weights reach `target`.

    keys: float32 (n,), no NaN; -inf marks what is not there. weights: float32 (n,), >= 0. Returns
    -inf if all weights together do not reach the target. One pass sorts the weights into bins by
    key; only the bin in which the target is reached is sorted.
    """
    top = highest(keys)
    bins = np.zeros(_NUM_BINS, np.float64)
    for place in range(len(keys)):
        if keys[place] > -np.inf:
            bins[_bin(top, keys[place])] += weights[place]
    reached = 0.0
    for crossed in range(_NUM_BINS):
        if reached + bins[crossed] >= target:
            return _cut_in_bin(keys, weights, target - reached, top, crossed)
        reached += bins[crossed]
    return np.float32(-np.inf)


@compiled()
def _bin(top, key):  # type: ignore[no-untyped-def]
    place = (top - key) / np.float32(_BIN_WIDTH)
    return int(place) if place < _NUM_BINS - 1 else _NUM_BINS - 1


@compiled(makes_arrays=True)
def _cut_in_bin(keys, weights, target, top, crossed):  # type: ignore[no-untyped-def]
    """The cut, when it lies in a bin whose members are to reach what is left of the target."""
    places = np.empty(len(keys), np.int64)
    num_places = 0
    for place in range(len(keys)):
        if keys[place] > -np.inf and _bin(top, keys[place]) == crossed:
            places[num_places] = place
            num_places += 1
    places = places[:num_places]
    reached = 0.0
    smallest = np.float32(-np.inf)
    for place in places[np.argsort(-keys[places])]:
        smallest = keys[place]
        reached += weights[place]
        if reached >= target:
            break
    return smallest
