"""Where steps spend their time, as the metrics page shows it."""

import asyncio

from prometheus_client import CollectorRegistry
from scripted_router import serve

from inlay_proto import generate_pb2 as pb
from inlay_router.telemetry.step_times import StepTimes


def shown(times: StepTimes, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(times)
    return registry.get_sample_value(name, labels)


def test_parts_of_router_and_shard_are_added_up() -> None:
    times = StepTimes()
    times.scheduled(0.5)
    times.scheduled(0.25)
    timings = pb.StepTimings(schedule=1_000_000_000, forward=2_000_000_000)
    times.delivered(timings, 0.125)
    assert shown(times, "inlay_step_schedule_duration_sum") == 1.5
    assert shown(times, "inlay_step_forward_duration_sum") == 2.0
    assert shown(times, "inlay_step_deliver_duration_sum") == 0.125
    assert shown(times, "inlay_step_duration_sum") == 3.625
    times.delivered(pb.StepTimings(), 0.0)
    assert shown(times, "inlay_step_schedule_duration_sum") == 1.75
    assert shown(times, "inlay_step_duration_count") == 2


def test_what_runs_beside_a_step_is_no_part_of_it() -> None:
    times = StepTimes()
    timings = pb.StepTimings(fill=3_000_000_000, encode=5_000_000_000, mask=1_000_000_000)
    times.delivered(timings, 0.0)
    assert shown(times, "inlay_step_fill_duration_sum") == 3.0
    assert shown(times, "inlay_step_encode_duration_sum") == 5.0
    assert shown(times, "inlay_step_duration_sum") == 1.0


def test_buckets_are_cumulative_and_hold_their_upper_bound() -> None:
    times = StepTimes()
    for nanoseconds in (1, 10_000, 14_000, 16_000):
        times.delivered(pb.StepTimings(forward=nanoseconds), 0.0)
    name = "inlay_step_forward_duration_bucket"
    assert shown(times, name, le="1e-05") == 2
    assert shown(times, name, le="1.5e-05") == 3
    assert shown(times, name, le="+Inf") == 4


def test_a_step_that_was_lost_is_not_mistaken_for_the_next() -> None:
    times = StepTimes()
    times.scheduled(9.0)
    times.reset()
    times.scheduled(0.5)
    times.delivered(pb.StepTimings(), 0.0)
    assert shown(times, "inlay_step_schedule_duration_sum") == 0.5


def test_the_metrics_page_shows_them() -> None:
    async def scenario() -> None:
        async with serve() as edge, edge.client as client:
            await client.post("/generate", json={"inputs": "x"})
            page = (await client.get("/metrics")).text
            num_steps = edge.generation.stats.num_steps
            assert f"inlay_step_duration_count {float(num_steps)}" in page
            assert 'inlay_step_forward_duration_bucket{le="+Inf"}' in page

    asyncio.run(scenario())
