"""The pieces of which compiled kernels are made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numba.core.errors import NumbaError

from inlay_kernels.arrays_in_place import stack_array
from inlay_kernels.compiled import as_array, compiled, exponential, to_float
from inlay_kernels.scan import find, find_in_parts, has_nan, highest, num_parts, summarise


@compiled()
def map_exponential(numbers, results):  # type: ignore[no-untyped-def]
    for place in range(len(numbers)):
        results[place] = exponential(numbers[place])


@compiled()
def map_to_float(numbers, results):  # type: ignore[no-untyped-def]
    for place in range(len(numbers)):
        results[place] = to_float(numbers[place])


def test_the_exponential_is_as_good_as_float32_allows() -> None:
    numbers = np.linspace(-87, 0, 20_001, dtype=np.float32)
    results = np.empty_like(numbers)
    map_exponential(numbers, results)
    np.testing.assert_array_max_ulp(results, np.exp(numbers.astype(np.float64)).astype("f4"), 2)


def test_bfloat16_is_widened_exactly() -> None:
    numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    numbers[:3] = torch.tensor([float("inf"), -float("inf"), -0.0])
    results = np.empty(1000, np.float32)
    map_to_float(as_array(numbers), results)
    np.testing.assert_array_equal(results, numbers.float().numpy())


def test_scans_find_what_is_there_wherever_it_stands() -> None:
    for length in (1, 63, 64, 65, 700):
        for place in {0, length // 2, length - 1}:
            numbers = np.linspace(-2, -1, length, dtype=np.float32)
            assert not has_nan(numbers)
            numbers[place] = 3
            assert highest(numbers) == 3
            assert find(numbers, np.float32(3)) == place
            numbers[place] = np.nan
            assert has_nan(numbers)
            assert find(numbers, np.float32(3)) == 0


def test_the_first_of_equals_is_found() -> None:
    numbers = np.zeros(2000, np.float32)
    numbers[[600, 1500]] = 1
    assert find(numbers, np.float32(1)) == 600


def test_the_first_of_equals_is_found_in_parts() -> None:
    numbers = np.zeros(10_000, np.float32)
    for places in ([9_999], [4_095, 4_096], [4_500, 8_191], [8_192]):
        numbers[:] = 0
        numbers[places] = 1
        tops = [summarise(numbers, part)[0] for part in range(num_parts(len(numbers)))]
        assert find_in_parts(numbers, np.array(tops, np.float32), np.float32(1)) == places[0]


def test_arrays_are_made_only_where_that_is_said() -> None:
    @compiled()
    def make_unsaid(size):  # type: ignore[no-untyped-def]
        return np.empty(size, np.float32).size

    @compiled(makes_arrays=True)
    def make(size):  # type: ignore[no-untyped-def]
        return np.empty(size, np.float32).size

    assert make(3) == 3
    with pytest.raises(NumbaError):
        make_unsaid(3)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64])
def test_room_on_the_stack_is_apart_from_other_room(dtype: type[np.number[Any]]) -> None:
    @compiled()
    def fill(size, like):  # type: ignore[no-untyped-def]
        first, second = stack_array(size, like.dtype), stack_array(size + 3, like.dtype)
        first[:], second[:] = 2, 3
        for place in range(size):
            like[place] = first[place] + second[place + 3]

    filled = np.zeros(700, dtype)
    fill(700, filled)
    assert (filled == 5).all()


def test_code_is_compiled_even_where_no_cache_can_be_written() -> None:
    namespace: dict[str, Callable[[float], float]] = {}
    exec("def double(number):\n    return 2 * number", namespace)
    assert compiled()(namespace["double"])(4.0) == 8.0
