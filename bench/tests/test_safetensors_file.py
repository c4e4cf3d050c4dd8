"""Reads bfloat16 as raw bits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inlay_bench.adapters.safetensors_file import tensors, widen


def test_bits_and_shapes_are_those_that_were_written(tmp_path: Path) -> None:
    written = {"a": torch.randn(3, 5, dtype=torch.bfloat16), "b": torch.ones(4).bfloat16()}
    save_file(written, tmp_path / "model.safetensors", metadata={"format": "pt"})
    read = dict(tensors(tmp_path / "model.safetensors"))
    assert set(read) == {"a", "b"}
    for name, tensor in written.items():
        assert np.array_equal(widen(read[name]), tensor.float().numpy())


def test_another_type_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="a is F32; BF16 is what is read here"):
        list(tensors(tmp_path / "model.safetensors"))
