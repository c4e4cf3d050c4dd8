"""What a query takes of each position, stretch by stretch, and what it has gathered in the end.

Scores and sums of a tile lie panel by panel: those of the query at `place` begin at place * PANEL
of each TILE.
"""

from typing import Final

import numpy as np

from inlay_kernels.compiled import compiled, exponential
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.instructions import to_element
from inlay_kernels.decoder.products import MAX_ROWS
from inlay_kernels.decoder.softmax import fill_shares, highest_score

TILE: Final = MAX_ROWS * PANEL
"""Numbers of a tile for one panel: (MAX_ROWS, PANEL)."""
_BITS_OF_E: Final = np.float32(1.44269504)
"""Base-2 logarithm of e."""


@compiled()
def share_out(  # type: ignore[no-untyped-def]
    scores, place, seen, stop, num_panels, scale, tops, totals, sums, shares, start
):
    """Fill `shares` from `start` on with the exponentials of a query's scaled scores of positions
    [seen, stop) of a stretch, and with zeros around them; mend what was summed before if its top
    is exceeded."""
    zero = to_element(shares, np.float32(0))
    if stop <= seen:
        shares[start : start + num_panels * PANEL] = zero
        return
    begin, end = seen // PANEL, (stop + PANEL - 1) // PANEL
    _cover(scores, place, begin * PANEL, seen)
    _cover(scores, place, stop, end * PANEL)
    first = begin * TILE + place * PANEL
    top = max(tops[place], highest_score(scores, first, TILE, end - begin))
    if top > tops[place]:
        factor = exponential((tops[place] - top) * scale)
        totals[place] *= factor
        for part in range(place * PANEL, len(sums), TILE):
            own = sums[part : part + PANEL]
            for lane in range(PANEL):
                own[lane] *= factor
        tops[place] = top
    base_2 = scale * _BITS_OF_E
    totals[place] += fill_shares(
        scores, first, TILE, end - begin, base_2, top * base_2, shares, start + begin * PANEL
    )
    shares[start : start + seen] = zero
    shares[start + stop : start + num_panels * PANEL] = zero


@compiled()
def _cover(scores, place, first, last):  # type: ignore[no-untyped-def]
    """Let positions [first, last) of one panel add next to nothing to a query's total."""
    for position in range(first, last):
        scores[position // PANEL * TILE + place * PANEL + position % PANEL] = -np.inf


@compiled()
def put_gathered(attended, sums, place, total):  # type: ignore[no-untyped-def]
    """What one query gathered, by the total of its shares."""
    share = np.float32(1) / total
    for first in range(0, len(attended), PANEL):
        own = sums[first // PANEL * TILE + place * PANEL :][:PANEL]
        filled = attended[first : first + PANEL]
        for lane in range(len(filled)):
            filled[lane] = to_element(attended, own[lane] * share)
