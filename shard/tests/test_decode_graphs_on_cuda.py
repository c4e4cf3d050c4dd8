"""Decode steps from CUDA graphs, on a GPU: answers as those of `generate`, alone and in a crowd."""

from pathlib import Path

import local_shard
import pytest
import torch
from driver import Driver
from local_shard import picture, start_shard
from tiny_models import TAKE_IMAGES, make_tiny
from transformers_reference import Reference

from inlay_shard import startup
from inlay_shard.cuda_graphs.decode_graphs import DecodeGraphs
from inlay_shard.images.recipe import Piece

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

TEXTS = [[40, 50, 60], list(range(20, 55)), [99], [7, 8] * 30, [5] * 31]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a shard reports that starts within the test."""
    pytest.importorskip("triton", reason="triton is not installed (the extra `gpu` brings it)")
    said: list[str] = []
    monkeypatch.setattr(
        local_shard, "start", lambda c, f, t, report: startup.start(c, f, t, said.append)
    )
    return said


@pytest.mark.parametrize("family", ["llama", "qwen2_vl", "idefics3"])
def test_answers_equal_generate(family: str, tmp_path: Path, lines: list[str]) -> None:
    folder = make_tiny(family, tmp_path / family)
    has_images = family in TAKE_IMAGES
    shard = start_shard(folder, takes_images=has_images, device="cuda")
    reference = Reference(folder, takes_images=has_images)
    seen: list[list[Piece]] = [["a ", picture(1), " b"]] if has_images else []
    expected = [reference.generate(token_ids) for token_ids in TEXTS]
    expected += [reference.generate_seen(pieces) for pieces in seen]
    for _ in range(2):
        driver = Driver(shard, chunk=16)
        running = [driver.add(token_ids) for token_ids in TEXTS]
        for pieces in seen:
            reply = shard.prepare(pieces)
            running.append(driver.add(reply.token_ids, features_key=reply.features_key))
        driver.run()
        assert [one.output_ids for one in running] == expected
    for token_ids, answer in zip(TEXTS, expected, strict=False):
        alone = Driver(shard)
        running = [alone.add(token_ids)]
        alone.run()
        assert running[0].output_ids == answer
    assert isinstance(shard.ready.network.shortcut, DecodeGraphs), lines
    assert repr(shard.ready.network.shortcut).startswith("DecodeGraphs([1, 2, 4"), lines
    assert not [line for line in lines if "no CUDA graph" in line]


def test_a_model_that_cannot_be_recorded_is_served_without(
    tmp_path: Path, lines: list[str]
) -> None:
    stretched = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    folder = make_tiny("llama", tmp_path / "llama", rope_parameters=stretched)
    shard = start_shard(folder, device="cuda")
    assert shard.ready.network.shortcut is None
    assert any(line.startswith("no CUDA graphs: ") for line in lines)
    driver = Driver(shard)
    running = driver.add(TEXTS[0])
    driver.run()
    assert running.output_ids == Reference(folder).generate(TEXTS[0])


def test_a_capture_that_fails_leaves_a_device_that_computes(tmp_path: Path) -> None:
    """As when what the rehearsal did not notice waits while capturing."""
    from inlay_shard.cuda_graphs.recording import CannotRecord, CudaRecorder

    device = torch.device("cuda", 0)
    recorder = CudaRecorder(device)
    numbers = torch.arange(8.0, device=device)
    with pytest.raises(CannotRecord):
        recorder.record(lambda: numbers * numbers.sum().item())
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert (numbers * 2).sum().item() == 56
