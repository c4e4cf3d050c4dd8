"""The scripted shard keeps the contract, and growth is measured as a power."""

import asyncio
from pathlib import Path

import pytest

from inlay_bench.serving import schedule_cost
from inlay_bench.serving.quantiles import quantile
from inlay_bench.serving.router import RouterResult, write_page
from inlay_bench.serving.router_cost import (
    EventCost,
    GrowthPoint,
    growth_exponent,
    run_streams,
)
from inlay_bench.serving.schedule_cost import SchedulePoint, measure_batch
from inlay_bench.serving.scripted_server import start_router
from inlay_bench.serving.scripted_shard import Script
from inlay_proto import generate_pb2 as pb


def step(step_id: int, **rows: int) -> pb.Step:
    """A step with rows named by their ids."""
    message = pb.Step(step_id=step_id)
    message.rows.sequence_ids.extend(int(key[1:]) for key in rows)
    message.rows.num_tokens.extend(rows.values())
    return message


def test_a_row_chooses_at_the_end_of_its_prompt_and_ends_with_its_last_token() -> None:
    script = Script()
    first = step(1, s7=2)
    first.joining.add(sequence_id=7, token_ids=[1, 2, 3], max_new_tokens=2)
    assert not script.run(first).sequence_ids
    chosen = script.run(step(2, s7=1))
    assert list(chosen.sequence_ids) == [7] and not chosen.endings
    last = script.run(pb.Step(step_id=3))
    assert list(last.sequence_ids) == [7]
    assert [ending.sequence_id for ending in last.endings] == [7]
    assert not script.run(pb.Step(step_id=4)).sequence_ids


def test_tokens_that_lie_in_blocks_already_are_not_computed() -> None:
    script = Script()
    first = step(1, s7=1)
    first.joining.add(sequence_id=7, token_ids=[1, 2, 3], num_cached_tokens=2, max_new_tokens=2)
    assert list(script.run(first).sequence_ids) == [7]


def test_growth_is_the_power_of_the_size() -> None:
    assert growth_exponent([(1, 5.0), (10, 5.0), (100, 5.0)]) == pytest.approx(0)
    assert growth_exponent([(1, 3.0), (10, 30.0), (100, 300.0)]) == pytest.approx(1)


def test_a_batch_is_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_cost, "NUM_STEPS", 5)
    point = measure_batch(3)
    assert point.num_streams == 3 and point.microseconds > 0


def test_samples_of_a_real_router_before_a_scripted_shard(tmp_path: Path) -> None:
    async def run() -> list[tuple[int, float]]:
        async with start_router(64, 0.0, tmp_path / "router.log") as router:
            samples = await run_streams(router, 2, 20, (0, 5, 20))
        return [(each.num_events, each.cpu) for each in samples]

    (none, start), (some, middle), (all_events, end) = asyncio.run(run())
    assert none == 0 and some >= 10 and all_events == 40
    assert start < middle <= end


def test_the_page_tells_costs_and_the_goals() -> None:
    event = EventCost(
        step_milliseconds=20, microseconds=26.0, microseconds_whole=28.0, events_per_second=3200
    )
    page = write_page(
        RouterResult(
            when="today",
            machine="a machine",
            events=[event],
            growth=[
                GrowthPoint(from_tokens=100, to_tokens=300, microseconds=9.0, resident_bytes=7)
            ],
            schedule=[SchedulePoint(num_streams=n, microseconds=10.0 * n) for n in (1, 2)],
        )
    )
    assert "goal: at most 25 µs: 26.0, missed" in page
    assert "100–300 tokens" in page
    assert "to the power of 1.00" in page


def test_quantiles_are_values_that_came() -> None:
    assert quantile([5.0, 1.0, 3.0, 2.0, 4.0], 0.5) == 3
    assert quantile([5.0, 1.0], 0.99) == 5
    assert quantile([1.0], 0.0) == 1
