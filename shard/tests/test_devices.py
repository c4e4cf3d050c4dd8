"""A device that computes no more ends the process, instead of failing every row for ever."""

from pathlib import Path
from typing import NoReturn

import pytest
import torch
from driver import Driver
from local_shard import start_shard
from tiny_models import make_tiny

from inlay_proto import generate_pb2 as pb
from inlay_shard.machine.devices import is_lost
from inlay_shard.steps import engine

CUDA = torch.device("cuda", 0)


def test_a_cpu_is_never_lost() -> None:
    assert not is_lost(torch.device("cpu"))


@pytest.mark.parametrize("error", [None, RuntimeError("an illegal memory access")])
def test_a_device_is_lost_when_it_answers_nothing(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError | None
) -> None:
    def synchronize(device: torch.device) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert is_lost(CUDA) is (error is not None)


@pytest.mark.parametrize("loses", [False, True])
def test_steps_end_with_their_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loses: bool
) -> None:
    """What one row causes fails that row, as ever."""
    shard = start_shard(make_tiny("llama", tmp_path / "llama"))

    def fail(*inputs: object) -> NoReturn:
        raise RuntimeError("the model cannot")

    shard.ready.network.rated_shortcut = fail
    monkeypatch.setattr(engine, "is_lost", lambda device: loses)
    driver = Driver(shard)
    running = driver.add([40, 50, 60])
    if loses:
        with pytest.raises(RuntimeError, match="the model cannot"):
            driver.run()
        return
    driver.run()
    assert running.failure is not None
    assert running.failure.kind == pb.RowFailure.KIND_INTERNAL
