"""Decode steps from graphs, recorded on tapes instead of by CUDA, in an engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import local_shard
import pytest
from driver import Driver, Running
from local_shard import Shard, picture, start_shard
from tape import TapeRecorder, recordable
from tiny_models import TAKE_IMAGES, make_tiny
from torch import Tensor, nn
from transformers_reference import Reference

import inlay_kernels
from inlay_shard import fitting, startup
from inlay_shard.cuda_graphs import graph_plan
from inlay_shard.cuda_graphs.decode_graphs import DecodeGraphs
from inlay_shard.cuda_graphs.graph_plan import NO_GRAPHS, GraphPlan
from inlay_shard.images.recipe import Piece
from inlay_shard.model.attention import PagedLayer, attached
from inlay_shard.model.network import Network

TEXTS = [[40, 50, 60], list(range(20, 55)), [99], [7, 8] * 30, [5] * 31]
SEEN: list[list[Piece]] = [["a ", picture(1), " b"], [picture(2, 64, 48), "what"]]


@pytest.fixture
def on_tape(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    """Shards that start within the test record on this tape, and nothing is compiled."""
    recorder = TapeRecorder()
    monkeypatch.setattr(graph_plan, "find_recorder", lambda device, kernels: recorder)
    monkeypatch.setattr(inlay_kernels, "select", lambda device: recordable())
    monkeypatch.setattr(fitting, "pack", lambda *arguments: None)
    return recorder


def ask(driver: Driver, shard: Shard, *, has_images: bool) -> list[Running]:
    running = [driver.add(token_ids) for token_ids in TEXTS]
    for pieces in SEEN if has_images else []:
        reply = shard.prepare(pieces)
        running.append(driver.add(reply.token_ids, features_key=reply.features_key))
    return running


@pytest.mark.parametrize("family", ["llama", "qwen2_vl", "idefics3"])
def test_answers_equal_generate(family: str, tmp_path: Path, on_tape: TapeRecorder) -> None:
    """Alone and in crowds that shrink, in chunks beside decodes, positions on three axes too."""
    folder = make_tiny(family, tmp_path / family)
    has_images = family in TAKE_IMAGES
    shard = start_shard(folder, takes_images=has_images, cuda_graphs=(1, 2, 4, 8))
    reference = Reference(folder, takes_images=has_images)
    expected = [reference.generate(token_ids) for token_ids in TEXTS]
    expected += [reference.generate_seen(pieces) for pieces in SEEN if has_images]
    for chunk in (1 << 20, 16):
        driver = Driver(shard, chunk=chunk)
        running = ask(driver, shard, has_images=has_images)
        driver.run()
        assert [one.output_ids for one in running] == expected
    alone = Driver(shard)
    first = alone.add(TEXTS[0])
    alone.run()
    assert first.output_ids == expected[0]
    assert repr(shard.ready.network.shortcut).startswith("DecodeGraphs([1, ")
    assert on_tape.num_refused == 0
    assert on_tape.num_replays > 30


def test_a_row_that_fails_leaves_the_others_their_answers(
    tmp_path: Path, on_tape: TapeRecorder
) -> None:
    """Halves of a batch are computed one after the other, both from the graph of one size."""
    folder = make_tiny("llama", tmp_path / "llama")
    shard = start_shard(folder, cuda_graphs=(2, 4))
    network = shard.ready.network
    graphs = network.shortcut
    assert isinstance(graphs, DecodeGraphs)
    reference = Reference(folder)
    expected = [reference.generate(token_ids) for token_ids in TEXTS[:4]]
    driver = Driver(shard)
    running = [driver.add(token_ids) for token_ids in TEXTS[:4]]
    for _ in range(4):
        driver.step()
    calls = iter(range(100))

    def fail_once(*inputs: Tensor | None) -> Tensor:
        if next(calls) == 0:
            raise RuntimeError("something of one row")
        return graphs(*inputs)  # type: ignore[arg-type]

    network.shortcut = fail_once
    for _ in range(2):
        driver.step()
    network.shortcut = graphs
    driver.run()
    assert [one.output_ids for one in running] == expected
    assert repr(graphs) == "DecodeGraphs([2, 4] of [2, 4])"


def test_idle_rows_touch_no_block_of_the_pool(tmp_path: Path, on_tape: TapeRecorder) -> None:
    """Three rows in a graph of eight change three slots, in each layer."""
    shard = start_shard(make_tiny("llama", tmp_path / "llama"), cuda_graphs=(8,))
    driver = Driver(shard)
    for token_ids in TEXTS[:3]:
        driver.add(token_ids)
    for _ in range(4):
        driver.step()
    layers = [attached(module) for module in _attention(shard.ready.network)]
    caches = [layer.key_cache for layer in layers if isinstance(layer, PagedLayer)]
    assert len(caches) == 2
    before = [cache.clone() for cache in caches]
    num_replays = on_tape.num_replays
    driver.step()
    assert on_tape.num_replays == num_replays + 1
    num_blocks = shard.facts.num_blocks
    for cache, old in zip(caches, before, strict=True):
        assert len(cache) == num_blocks + 1
        changed = (cache != old)[:num_blocks].flatten(0, 1).any(-1).any(-1)
        assert int(changed.sum()) == 3


def _attention(network: Network) -> Iterator[nn.Module]:
    for module in network.text_tower.modules():
        if type(module).__name__ == "LlamaAttention":
            yield module


def test_memory_is_left_for_graphs(
    tmp_path: Path, on_tape: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is reserved beside the pool grows by what the plan says, and scratch is told nobody."""
    folder = make_tiny("llama", tmp_path / "llama")
    reserved: list[int] = []
    plans: list[GraphPlan] = []

    def plan(*inputs: Any, **options: Any) -> GraphPlan:
        plans.append(graph_plan.plan_graphs(*inputs, **options))
        return plans[-1]

    def choose(*inputs: Any, reserved_bytes: int) -> int:
        reserved.append(reserved_bytes)
        return 20

    monkeypatch.setattr(fitting, "largest_step_bytes", lambda *inputs, **options: 1000)
    monkeypatch.setattr(fitting, "plan_graphs", plan)
    monkeypatch.setattr(fitting, "choose_num_blocks", choose)
    for sizes in ((), (1, 40)):
        shard = start_shard(folder, num_blocks=None, cuda_graphs=sizes)
        assert shard.facts.num_blocks == 20
    assert [plan.num_scratch_blocks for plan in plans] == [0, 2]
    assert plans[0] == NO_GRAPHS
    assert plans[1].num_bytes > 41 * 4 * shard.facts.vocab_size
    assert reserved == [1000, 1000 + plans[1].num_bytes]


def test_a_model_that_cannot_be_recorded_is_served_without(
    tmp_path: Path, on_tape: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions that stretch with the longest row of a batch ask the device for its length."""
    stretched = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    folder = make_tiny("llama", tmp_path / "llama", rope_parameters=stretched)
    lines: list[str] = []
    monkeypatch.setattr(
        local_shard, "start", lambda c, f, t, report: startup.start(c, f, t, lines.append)
    )
    shard = start_shard(folder)
    assert shard.ready.network.shortcut is None
    assert [line for line in lines if "graph" in line] == [
        "no CUDA graphs: aten.is_nonzero.default: not permitted when stream is capturing"
    ]
    driver = Driver(shard)
    running = driver.add(TEXTS[0])
    driver.run()
    assert running.output_ids == Reference(folder).generate(TEXTS[0])
