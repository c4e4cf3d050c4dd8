"""What `/metrics` says of steps."""

import asyncio

from prometheus_client import CollectorRegistry
from scripted_router import eventually, serve

from inlay_proto import generate_pb2 as pb
from inlay_router.telemetry.step_metrics import StepMetrics


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, labels)
    assert found is not None
    return found


def test_times_of_the_shard_are_counted_by_method() -> None:
    registry = CollectorRegistry()
    metrics = StepMetrics(registry)
    rows = pb.Rows(sequence_ids=[1, 2], num_tokens=[5, 1])
    metrics.sent(pb.Step(joining=[pb.Sequence(sequence_id=1)], rows=rows))
    metrics.sent(pb.Step())
    timings = pb.StepTimings(encode=9_000_000, forward=2_000_000, mask=3_000_000, sample=4_000_000)
    metrics.settled(pb.StepResult(timings=timings))
    assert value(registry, "tgi_batch_inference_success_total", method="prefill") == 1
    assert value(registry, "tgi_batch_inference_success_total", method="decode") == 0
    assert value(registry, "tgi_batch_inference_duration_sum", method="prefill") == 0.009
    assert value(registry, "tgi_batch_forward_duration_sum", method="prefill") == 0.002
    assert value(registry, "tgi_batch_decode_duration_sum", method="prefill") == 0.007
    assert value(registry, "tgi_batch_concat_total", reason="chunking") == 1
    assert value(registry, "tgi_batch_next_size_sum") == 1
    metrics.lost()
    assert value(registry, "tgi_batch_inference_failure_total", method="decode") == 1
    assert value(registry, "tgi_batch_inference_failure_total", method="prefill") == 0


def test_steps_that_die_with_the_shard_are_counted_and_the_next_ones_too() -> None:
    async def scenario() -> tuple[float, float, float]:
        async with serve() as edge:
            await edge.link.pause()
            exchange = edge.open("/generate", {"inputs": "abc"})
            await eventually(lambda: len(edge.link.steps) > 0)
            await edge.link.die()
            await edge.link.revive()
            await edge.link.resume()
            await exchange.task
            assert exchange.status == 200
            registry = edge.service.metrics.registry
            totals = ("count", "success", "failure")
            count, success, failure = (
                sum(
                    value(registry, f"tgi_batch_inference_{total}_total", method=method)
                    for method in ("prefill", "decode")
                )
                for total in totals
            )
            return count, success, failure

    count, success, failure = asyncio.run(scenario())
    assert failure > 0
    assert success > 0
    assert success + failure <= count
