"""Measures the router alone: CPU time for a token event, its growth, and a step's scheduling."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.serving.router_cost import (
    MAX_TOKENS,
    NUM_STREAMS,
    TICK_SECONDS,
    EventCost,
    GrowthPoint,
    growth_exponent,
    measure_events,
    measure_growth,
)
from inlay_bench.serving.schedule_cost import SchedulePoint, measure_schedule
from inlay_bench.serving.verb import run_bench

BAR_MICROSECONDS = 25.0


@dataclass(frozen=True, kw_only=True)
class RouterOptions:
    """One run."""

    max_tokens: int = MAX_TOKENS
    """Of the longest answer."""
    folder: Path = Path(".bench")


class RouterResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run found out."""

    when: str
    machine: str
    events: list[EventCost]
    growth: list[GrowthPoint]
    schedule: list[SchedulePoint]


async def measure(options: RouterOptions) -> RouterResult:
    """About a minute and a half. Raises BenchFailed."""
    start = time.monotonic()

    def say(words: str) -> None:
        print(f"[{time.monotonic() - start:4.0f} s] {words}", file=sys.stderr, flush=True)

    log = options.folder / "router.log"
    events = []
    for step_seconds in (TICK_SECONDS, 0.0):
        say(f"{NUM_STREAMS} streams, a step takes {1000 * step_seconds:.0f} ms")
        events.append(await measure_events(step_seconds, log))
    say("scheduling a step")
    schedule = measure_schedule()
    say(f"answers of {options.max_tokens} tokens")
    growth = await measure_growth(options.max_tokens, log)
    say("done")
    return RouterResult(
        when=now(), machine=describe_machine(), events=events, growth=growth, schedule=schedule
    )


def write_page(result: RouterResult) -> str:
    """The tables for people."""
    lines = [f"CPU time of the router's process for one token event, {NUM_STREAMS} streams (µs)"]
    for each in result.events:
        pace = (
            f"a step every {each.step_milliseconds:.0f} ms"
            if each.step_milliseconds
            else "flat out"
        )
        lines.append(
            f"  {pace:22}{each.microseconds:6.1f} while all run, {each.microseconds_whole:.1f} with"
            f" opening and closing; {each.events_per_second:.0f} events/s"
        )
    worst = max(each.microseconds for each in result.events)
    verdict = "reached" if worst <= BAR_MICROSECONDS else "missed"
    lines.append(f"  goal: at most {BAR_MICROSECONDS:.0f} µs: {worst:.1f}, {verdict}")
    lines.append(
        "growth of the cost of a token with the length of the answer (2 streams, flat out)"
    )
    for point in result.growth:
        span = f"{point.from_tokens}–{point.to_tokens} tokens"
        memory = f"{point.resident_bytes / 1e6:.0f} MB resident"
        lines.append(f"  {span:24}{point.microseconds:8.1f} µs  {memory}")
    lines.append("scheduling one decode step (next_step and settle)")
    for size in result.schedule:
        lines.append(f"  {size.num_streams:4} streams{size.microseconds:10.1f} µs")
    exponent = growth_exponent([(each.num_streams, each.microseconds) for each in result.schedule])
    lines.append(f"  grows as the batch to the power of {exponent:.2f}; goal: at most 1")
    return "\n".join(lines)


def parse_options(argv: Sequence[str] | None = None) -> RouterOptions:
    """The options of a command line."""
    words = "The router's CPU time alone."
    return read_options(RouterOptions, "inlay_bench.serving.router", words, argv, max_tokens=3000)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("router", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
