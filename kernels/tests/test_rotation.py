"""Rotation of heads by their halves, in both forms, against torch."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
import torch

from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import rotation

Turn = Callable[..., None]


@pytest.fixture(scope="module", params=["of this processor", "of any processor"])
def turn(request: pytest.FixtureRequest, portable_twin: Callable[[ModuleType], ModuleType]) -> Turn:
    """As it is compiled here, and as where bfloat16 has no instructions."""
    is_own = request.param == "of this processor"
    module: Any = rotation if is_own else portable_twin(rotation)
    turn: Turn = numba.njit(module.turn.py_func)  # with no cache, which would mix the two up
    return turn


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_heads", [1, 3])
@pytest.mark.parametrize(("size", "half"), [(64, 32), (80, 40), (96, 24), (21, 7), (8, 0)])
def test_heads_are_turned_by_their_halves(
    turn: Turn, dtype: torch.dtype, num_heads: int, size: int, half: int
) -> None:
    generator = torch.Generator().manual_seed(4)
    heads = torch.randn(num_heads, size, generator=generator)
    cosines, sines = torch.randn(2, 2 * half, generator=generator)
    turned = torch.full((num_heads, size + 2), 9.0, dtype=dtype)
    filled = as_array(turned.view(-1))
    turn(heads.view(-1).numpy(), size, half, cosines.numpy(), sines.numpy(), filled, size + 2)
    part = heads[:, : 2 * half]
    crossed = torch.cat([-part[:, half:], part[:, :half]], dim=1)
    expected = torch.cat([part * cosines + crossed * sines, heads[:, 2 * half :]], dim=1)
    torch.testing.assert_close(turned[:, :size], expected.to(dtype))
    assert (turned[:, size:] == 9).all()  # what is between heads stays


def test_what_is_no_number_stays_none(turn: Turn) -> None:
    head = np.full(32, np.nan, np.float32)
    ones, turned = np.ones(32, np.float32), torch.zeros(32, dtype=torch.bfloat16)
    turn(head, 32, 16, ones, ones, as_array(turned), 32)
    assert turned.isnan().all()
