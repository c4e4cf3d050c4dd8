"""The operator's choices, and what follows from them on this machine."""

from pathlib import Path

import pytest
import torch

from inlay_shard.config import ShardConfig, parse_arguments
from inlay_shard.errors import ModelRefused
from inlay_shard.machine import memory
from inlay_shard.model import cache
from inlay_shard.model.cache import AttentionLayer, bytes_per_block, choose_num_blocks
from inlay_shard.model.loading import SMALL_MODEL_BYTES, choose_device, choose_dtype
from inlay_shard.shard import num_threads

CPU = torch.device("cpu")
NEEDED = ["--model", "folder", "--address", "unix:/tmp/x"]


def test_command_line_and_defaults() -> None:
    config = parse_arguments(NEEDED)
    expected = ShardConfig(model=Path("folder"), model_id="folder", address="unix:/tmp/x")
    assert config == expected
    more = ["--model-id", "me/mine", "--rank", "1", "--num-shard", "2", "--exit-with-parent"]
    config = parse_arguments([*NEEDED, *more, "--num-blocks", "9", "--dtype", "bfloat16"])
    assert (config.model_id, config.rank, config.num_shards) == ("me/mine", 1, 2)
    assert (config.num_blocks, config.dtype, config.exits_with_parent) == (9, "bfloat16", True)


def test_numbers_below_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments([*NEEDED, "--block-size", "0"])
    assert "must be at least 1. Given: 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "stored", "num_bytes", "has_bfloat16", "expected"),
    [
        ("float16", torch.float32, 1, True, torch.float16),
        ("auto", torch.float32, 1 << 40, True, torch.float32),
        ("auto", torch.bfloat16, 1 << 40, True, torch.bfloat16),
        ("auto", torch.bfloat16, 1 << 40, False, torch.float32),
        ("auto", torch.bfloat16, SMALL_MODEL_BYTES, True, torch.float32),
        ("auto", None, 1, True, torch.float32),
    ],
)
def test_dtype_on_cpu(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stored: torch.dtype | None,
    num_bytes: int,
    has_bfloat16: bool,
    expected: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bfloat16)
    assert choose_dtype(name, stored, num_bytes, CPU) == expected  # type: ignore[arg-type]


def test_dtype_on_cuda_is_as_stored() -> None:
    assert choose_dtype("auto", torch.float16, 1, torch.device("cuda", 0)) == torch.float16


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", 0) == CPU
    with pytest.raises(ModelRefused, match="there is no CUDA device"):
        choose_device("cuda", 0)


def test_pool_fits_into_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [AttentionLayer(module=torch.nn.Identity(), num_kv_heads=2, head_size=8)] * 3
    block_bytes = bytes_per_block(layers, 16, torch.bfloat16)
    assert block_bytes == 3 * 2 * 2 * 8 * 16 * 2
    monkeypatch.setattr(memory, "available_memory", lambda: 400 * block_bytes)
    assert choose_num_blocks(block_bytes, 16, CPU) == 100
    reserved = choose_num_blocks(block_bytes, 16, CPU, reserved_bytes=396 * block_bytes)
    assert reserved == 1
    with pytest.raises(ModelRefused, match="choose a smaller --block-size"):
        choose_num_blocks(block_bytes, 16, CPU, reserved_bytes=397 * block_bytes)
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 60)
    assert choose_num_blocks(block_bytes, 16, CPU) == cache.MAX_POOL_TOKENS["cpu"] // 16


def test_ranks_share_the_cores() -> None:
    alone = parse_arguments(NEEDED)
    assert num_threads(alone) >= 1
    assert num_threads(parse_arguments([*NEEDED, "--num-shard", "999"])) == 1
    assert num_threads(parse_arguments([*NEEDED, "--num-threads", "3"])) == 3
