"""Presses a server for a while, then looks for what it did not give back."""

import asyncio
import time
from pathlib import Path

from inlay_bench.batch import BenchFailed
from inlay_bench.saved import describe_machine, now
from inlay_bench.soak.clients import Crowd
from inlay_bench.soak.requests import SoakRequest, soak_request
from inlay_bench.soak.result import SoakResult
from inlay_bench.soak.server import SoakedServer, start_soaked
from inlay_bench.soak.watch import Held, Sample, look

_WARM_UP_SECONDS = 5.0
_QUIET_SECONDS = 90.0
_QUIET = (
    "tgi_queue_size",
    "tgi_batch_current_size",
    "inlay_kv_blocks_used",
    "inlay_permits_taken",
    "inlay_body_bytes",
)
"""Gauges that are zero when nothing is asked."""
_SPARE = 8
"""Descriptors, threads and tasks that may come and go: idle connections, workers that restart."""
_LAST = 10**9
"""Number of the request behind all others."""


async def soak(
    *,
    minutes: float,
    num_clients: int,
    num_looks: int,
    log: Path,
    warm_up_seconds: float = _WARM_UP_SECONDS,
) -> SoakResult:
    """What it held before is looked at behind the warm-up. Raises BenchFailed."""
    async with start_soaked(log) as server:
        warming = Crowd(server.host, server.port)
        await warming.press(num_clients, warm_up_seconds)
        before = await _quiet(server)
        held_before = look(server.launcher)
        crowd = Crowd(server.host, server.port)
        samples = await _press(server, crowd, minutes * 60, num_clients, num_looks)
        after = await _quiet(server)
        held_after = look(server.launcher)
        leaks = [*_grown(before, after), *_more(held_before, held_after), *await _ledger(server)]
    return SoakResult(
        machine=describe_machine(),
        when=now(),
        minutes=minutes,
        num_clients=num_clients,
        counts=dict(crowd.counts),
        failures=crowd.failures,
        samples=samples,
        leaks=leaks,
    )


async def _press(
    server: SoakedServer, crowd: Crowd, seconds: float, num_clients: int, num_looks: int
) -> list[Sample]:
    begun = time.monotonic()
    samples: list[Sample] = []

    async def watch() -> None:
        while True:
            held = look(server.launcher)
            num_requests = crowd.counts.total()
            samples.append(Sample(time.monotonic() - begun, num_requests, held))
            await asyncio.sleep(seconds / num_looks)

    watching = asyncio.create_task(watch())
    await crowd.press(num_clients, seconds)
    watching.cancel()
    return samples


async def _quiet(server: SoakedServer) -> dict[str, float]:
    """The metrics once nothing is asked any more. Raises BenchFailed."""
    await Crowd(server.host, server.port).ask(_last_request(server))
    deadline = time.monotonic() + _QUIET_SECONDS
    while True:
        metrics = await server.metrics()
        left = {name: metrics[name] for name in _QUIET if metrics[name]}
        if not left:
            return metrics
        if time.monotonic() > deadline:
            raise BenchFailed(f"the server does not come to rest: {left}")
        await asyncio.sleep(0.2)


def _last_request(server: SoakedServer) -> SoakRequest:
    """Its steps tell the shards who left before."""
    number = _LAST
    while (request := soak_request(number, server.host)).leaves_after is not None:
        number += 1
    return request


def _grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    name = "inlay_tasks"
    if after[name] <= before[name] + _SPARE:
        return []
    return [f"{after[name]:g} tasks in the router, {before[name]:g} before"]


def _more(before: dict[str, Held], after: dict[str, Held]) -> list[str]:
    leaks = []
    for role, held in after.items():
        was = before.get(role, Held(0, 0, 0))
        if held.num_descriptors > was.num_descriptors + _SPARE:
            leaks.append(f"{held.num_descriptors} files in {role}, {was.num_descriptors} before")
        if held.num_threads > was.num_threads + _SPARE:
            leaks.append(f"{held.num_threads} threads in {role}, {was.num_threads} before")
    return leaks


async def _ledger(server: SoakedServer) -> list[str]:
    """The shard writes in the midst of one last answer, so one sequence is there."""
    server.ask_for_ledger()
    await Crowd(server.host, server.port).ask(_last_request(server))
    ledger = await server.ledger()
    return [
        f"{ledger[name]} {name} in the shard, at most one is in use"
        for name in ("sequences", "matchers")
        if ledger[name] > 1
    ]
