"""Products of packed weights with a few rows, in every form, against plain sums."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import products
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.packing import pack
from inlay_kernels.decoder.products import MAX_ROWS

NUM_INPUTS = 38
FORMS = [
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.int8, torch.float32),
    (torch.int8, torch.bfloat16),
]
"""Types of weights and of what they are multiplied with."""

Loop = Callable[..., None]


def compile_products(module: ModuleType) -> Loop:
    multiply: Any = module.multiply

    def loop(num_rows: int, weights: Any, size: int, x: Any, stride: int, sums: Any) -> None:
        multiply(num_rows, weights, 0, size, x, 0, stride, sums, 0)

    compiled: Loop = numba.njit(loop)
    return compiled


@pytest.fixture(scope="module", params=["of this processor", "of any processor"])
def loop(request: pytest.FixtureRequest, portable_twin: Callable[[ModuleType], ModuleType]) -> Loop:
    """Products as they are compiled here, and as where bfloat16 has none of its own."""
    if request.param == "of this processor":
        return compile_products(products)
    return compile_products(portable_twin(products))


def products_of(loop: Loop, weight: Tensor, x: Tensor) -> Tensor:
    """(rows, PANEL), in float32."""
    sums = np.full(MAX_ROWS * PANEL, np.nan, np.float32)
    loop(len(x), as_array(pack(weight)), NUM_INPUTS, as_array(x.flatten()), NUM_INPUTS, sums)
    return torch.from_numpy(sums[: len(x) * PANEL]).view(len(x), PANEL)


@pytest.mark.parametrize(("weight_dtype", "dtype"), FORMS)
def test_products_of_whole_numbers_are_exact(
    loop: Loop, weight_dtype: torch.dtype, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randint(-128, 128, (PANEL, NUM_INPUTS), generator=generator)
    x = torch.randint(-99, 100, (MAX_ROWS, NUM_INPUTS), generator=generator)
    for num_rows in range(1, MAX_ROWS + 1):
        found = products_of(loop, weight.to(weight_dtype), x[:num_rows].to(dtype))
        assert torch.equal(found, (x[:num_rows] @ weight.T).float())


@pytest.mark.parametrize(("weight_dtype", "dtype"), FORMS)
def test_products_of_fractions_are_near(
    loop: Loop, weight_dtype: torch.dtype, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = (torch.randn(PANEL, NUM_INPUTS, generator=generator) * 20).to(weight_dtype)
    x = torch.randn(5, NUM_INPUTS, generator=generator).to(dtype)
    torch.testing.assert_close(
        products_of(loop, weight, x), x.float() @ weight.float().T, rtol=1e-5, atol=1e-3
    )


Loops = tuple[Loop, Loop]
CACHED_FORMS = [torch.float32, torch.bfloat16]
STARTS = np.array([5, 1, 3]) * PANEL * PANEL
"""Where panels of PANEL inputs begin: not in their order, and not side by side."""


def compile_panels(module: ModuleType) -> Loops:
    multiply_panels: Any = module.multiply_panels
    add_panels: Any = module.add_panels

    def multiply_loop(num_rows: int, weights: Any, starts: Any, x: Any, sums: Any) -> None:
        multiply_panels(num_rows, weights, starts, len(starts), PANEL, x, 0, PANEL, sums)

    def add_loop(num_rows: int, weights: Any, starts: Any, x: Any, sums: Any) -> None:
        stride = len(starts) * PANEL
        add_panels(num_rows, weights, starts, PANEL * PANEL, len(starts), x, 0, stride, sums)

    return numba.njit(multiply_loop), numba.njit(add_loop)


@pytest.fixture(scope="module", params=["of this processor", "of any processor"])
def panel_loops(
    request: pytest.FixtureRequest, portable_twin: Callable[[ModuleType], ModuleType]
) -> Loops:
    """Products of many panels, in both forms."""
    is_own = request.param == "of this processor"
    return compile_panels(products if is_own else portable_twin(products))


@pytest.fixture
def panels() -> Tensor:
    """(7, outputs, inputs): whole numbers."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(-9, 10, (7, PANEL, PANEL), generator=generator).float()


def packed(panels: Tensor, dtype: torch.dtype) -> Any:
    return as_array(torch.cat([pack(panel.to(dtype)).flatten() for panel in panels]))


@pytest.mark.parametrize("dtype", CACHED_FORMS)
@pytest.mark.parametrize("num_rows", [1, 9, MAX_ROWS])
def test_products_of_panels_that_lie_apart(
    panel_loops: Loops, panels: Tensor, dtype: torch.dtype, num_rows: int
) -> None:
    x = torch.arange(num_rows * PANEL).view(num_rows, PANEL) % 13 - 6.0
    sums = np.full((len(STARTS), MAX_ROWS, PANEL), np.nan, np.float32)
    inputs = as_array(x.to(dtype).flatten())
    panel_loops[0](num_rows, packed(panels, dtype), STARTS, inputs, sums.reshape(-1))
    expected = torch.stack([x @ panels[number].T for number in (5, 1, 3)])
    assert torch.equal(torch.from_numpy(sums[:, :num_rows]), expected)
    assert np.isnan(sums[:, num_rows:]).all()


@pytest.mark.parametrize("dtype", CACHED_FORMS)
@pytest.mark.parametrize("num_rows", [1, 9, MAX_ROWS])
def test_products_of_panels_are_added_to_what_is_there(
    panel_loops: Loops, panels: Tensor, dtype: torch.dtype, num_rows: int
) -> None:
    x = torch.arange(num_rows * 3 * PANEL).view(num_rows, 3, PANEL) % 13 - 6.0
    sums = np.full((MAX_ROWS, PANEL), 2.0, np.float32)
    inputs = as_array(x.to(dtype).flatten())
    panel_loops[1](num_rows, packed(panels, dtype), STARTS, inputs, sums.reshape(-1))
    behind = panels[[6, 2, 4]]  # one panel further than STARTS
    expected = 2 + torch.einsum("rpi,poi->ro", x, behind)
    assert torch.equal(torch.from_numpy(sums[:num_rows]), expected)
    assert (sums[num_rows:] == 2).all()
