"""Arrays through shared memory."""

import os
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inlay_shard.machine.shared_arrays import attach, share

ARRAYS: dict[str, NDArray[Any]] = {
    "pixels": np.random.default_rng(0).random((2, 3, 5)).astype(np.float32),
    "columns": np.arange(12).reshape(3, 4)[:, ::2],
    "mask": np.array([True, False]),
    "one": np.array(7),
    "none": np.zeros((0, 3), np.int64),
}


def test_they_come_back() -> None:
    file, layouts = share(ARRAYS)
    found = attach(os.dup(file), layouts)
    os.close(file)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_they_are_not_copied_and_live_on_alone() -> None:
    file, layouts = share(ARRAYS)
    first, second = attach(os.dup(file), layouts), attach(os.dup(file), layouts)
    os.close(file)
    kept = first.pop("pixels")
    memory = weakref.ref(first.pop("mask"))
    first.clear()
    assert memory() is None
    second["pixels"][0] = 9
    assert (kept[0] == 9).all()


def test_the_file_is_closed() -> None:
    file, layouts = share(ARRAYS)
    attach(file, layouts)
    with pytest.raises(OSError):
        os.fstat(file)


def test_nothing_to_share() -> None:
    file, layouts = share({})
    assert attach(file, layouts) == {}
