"""Products of packed weights with a few rows, in every form, against plain sums."""

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from inlay_kernels import processor
from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import products
from inlay_kernels.decoder.packing import pack
from inlay_kernels.decoder.products import MAX_ROWS, PANEL

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
        multiply(num_rows, weights, 0, size, x, 0, stride, sums)

    compiled: Loop = numba.njit(loop)
    return compiled


@pytest.fixture(scope="module", params=["of this processor", "of any processor"])
def loop(request: pytest.FixtureRequest) -> Loop:
    """Products as they are compiled here, and as where bfloat16 has none of its own."""
    if request.param == "of this processor":
        return compile_products(products)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processor, "HAS_BFLOAT16_PRODUCTS", False)
        spec = importlib.util.spec_from_file_location("portable_products", products.__file__)
        assert spec is not None and spec.loader is not None
        portable = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(portable)
    assert not portable.HAS_BFLOAT16_PRODUCTS
    return compile_products(portable)


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
