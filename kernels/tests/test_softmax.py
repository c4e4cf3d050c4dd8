"""The passes of a softmax over panels of scores, in both forms, against numpy."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import softmax
from inlay_kernels.decoder.forms import PANEL

STRIDE = 3 * PANEL
"""Numbers from one panel of a query to its next; what is between them belongs to others."""
NUM_PANELS = 5

Loops = tuple[Callable[..., float], Callable[..., float]]


def compile_passes(module: ModuleType) -> Loops:
    highest: Any = module.highest_score
    fill: Any = module.fill_shares

    def highest_loop(scores: Any, start: int, num_panels: int) -> float:
        return float(highest(scores, start, STRIDE, num_panels))

    def fill_loop(scores: Any, start: int, scale: float, offset: float, shares: Any) -> float:
        factors = np.float32(scale), np.float32(offset)
        return float(fill(scores, start, STRIDE, NUM_PANELS, *factors, shares, PANEL))

    return numba.njit(highest_loop), numba.njit(fill_loop)


@pytest.fixture(scope="module", params=["of this processor", "of any processor"])
def loops(
    request: pytest.FixtureRequest, portable_twin: Callable[[ModuleType], ModuleType]
) -> Loops:
    """Both passes as they are compiled here, and as where bfloat16 has no instructions."""
    is_own = request.param == "of this processor"
    return compile_passes(softmax if is_own else portable_twin(softmax))


def scores_of(spread: float) -> NDArray[np.float32]:
    """Scores that are not above zero, in panels and between them."""
    drawn = np.random.default_rng(0).uniform(-spread, 0, NUM_PANELS * STRIDE)
    return drawn.astype(np.float32)


def own(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Those of the query whose panels begin at PANEL."""
    return np.concatenate([scores[PANEL + n * STRIDE :][:PANEL] for n in range(NUM_PANELS)])


@pytest.mark.parametrize("place", [0, 7, 31, NUM_PANELS * PANEL - 1])
def test_the_highest_score_is_found_wherever_it_is(loops: Loops, place: int) -> None:
    scores = scores_of(50.0)
    panel, lane = divmod(place, PANEL)
    scores[PANEL + panel * STRIDE + lane] = 1.5
    scores[0] = scores[PANEL - 1] = 99.0  # of others
    assert loops[0](scores, PANEL, NUM_PANELS) == 1.5


def test_a_score_that_is_no_number_is_passed_over(loops: Loops) -> None:
    scores = scores_of(50.0)
    expected = own(scores)[1:].max()
    scores[PANEL] = np.nan
    assert loops[0](scores, PANEL, NUM_PANELS) == expected
    assert loops[0](np.full(STRIDE, np.nan, np.float32), 0, 1) == -np.inf


@pytest.mark.parametrize("spread", [1.0, 120.0])
def test_shares_are_powers_of_two_within_a_few_units_in_the_last_place(
    loops: Loops, spread: float
) -> None:
    scores = scores_of(spread)
    shares = np.full((NUM_PANELS + 2) * PANEL, 7.0, np.float32)
    total = loops[1](scores, PANEL, 1.0, 0.0, shares)
    expected = np.exp2(own(scores).astype(np.float64))
    np.testing.assert_allclose(shares[PANEL:-PANEL], expected, rtol=3 * 2.0**-23)
    assert total == pytest.approx(expected.sum(), rel=1e-6)
    assert (shares[:PANEL] == 7).all() and (shares[-PANEL:] == 7).all()


def test_scores_are_scaled_and_moved_before(loops: Loops) -> None:
    scores = scores_of(20.0)
    shares = np.zeros((NUM_PANELS + 2) * PANEL, np.float32)
    loops[1](scores, PANEL, 0.5, 3.0, shares)
    expected = np.exp2(own(scores).astype(np.float64) * 0.5 - 3.0)
    np.testing.assert_allclose(shares[PANEL:-PANEL], expected, rtol=1e-6)


def test_shares_in_bfloat16_are_within_their_rounding(loops: Loops) -> None:
    scores = scores_of(30.0)
    shares = torch.zeros((NUM_PANELS + 2) * PANEL, dtype=torch.bfloat16)
    total = loops[1](scores, PANEL, 1.0, 0.0, as_array(shares))
    expected = np.exp2(own(scores).astype(np.float64))
    found = shares[PANEL:-PANEL].double().numpy()
    np.testing.assert_allclose(found, expected, rtol=2.0**-8 + 1e-4)
    assert total == pytest.approx(expected.sum(), rel=1e-4)


def test_what_is_far_below_adds_next_to_nothing_and_no_number_stays_one(loops: Loops) -> None:
    scores = np.full(NUM_PANELS * STRIDE, -np.inf, np.float32)
    shares = np.zeros((NUM_PANELS + 2) * PANEL, np.float32)
    assert 0 < loops[1](scores, PANEL, 1.0, 0.0, shares) < 1e-35
    scores[PANEL + 3] = np.nan
    assert np.isnan(loops[1](scores, PANEL, 1.0, 0.0, shares))
    assert np.isnan(shares[PANEL + 3]) and not np.isnan(shares[PANEL + 2])
