"""Reads a safetensors file as raw arrays, bfloat16 included, with numpy alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NUM_LENGTH_BYTES = 8


def tensors(path: Path) -> Iterator[tuple[str, NDArray[np.uint16]]]:
    """Name and bits of each tensor, in its shape. Raises ValueError unless all are bfloat16.

    The format: https://huggingface.co/docs/safetensors/index#format
    """
    data = np.memmap(path, np.uint8, mode="r")
    header_size = int.from_bytes(data[:NUM_LENGTH_BYTES].tobytes(), "little")
    start = NUM_LENGTH_BYTES + header_size
    header = json.loads(data[NUM_LENGTH_BYTES:start].tobytes())
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        if facts["dtype"] != "BF16":
            raise ValueError(f"{name} is {facts['dtype']}; BF16 is what is read here")
        first, last = facts["data_offsets"]
        bits = data[start + first : start + last].view(np.uint16)
        yield name, bits.reshape(facts["shape"])


def widen(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as float32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
