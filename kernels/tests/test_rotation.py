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
@pytest.mark.parametrize(("size", "half"), [(64, 32), (80, 40), (96, 24), (20, 7), (8, 0)])
def test_a_head_is_turned_by_its_halves(
    turn: Turn, dtype: torch.dtype, size: int, half: int
) -> None:
    generator = torch.Generator().manual_seed(4)
    head = torch.randn(size, generator=generator)
    cosines, sines = torch.randn(2, 2 * half, generator=generator)
    turned = torch.full((size,), 9.0, dtype=dtype)
    turn(head.numpy(), half, cosines.numpy(), sines.numpy(), as_array(turned))
    part = head[: 2 * half]
    crossed = torch.cat([-part[half:], part[:half]])
    expected = torch.cat([part * cosines + crossed * sines, head[2 * half :]])
    torch.testing.assert_close(turned, expected.to(dtype))


def test_what_is_no_number_stays_none(turn: Turn) -> None:
    head = np.full(32, np.nan, np.float32)
    ones, turned = np.ones(32, np.float32), torch.zeros(32, dtype=torch.bfloat16)
    turn(head, 16, ones, ones, as_array(turned))
    assert turned.isnan().all()
