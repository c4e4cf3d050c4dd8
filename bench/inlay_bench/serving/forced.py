"""Measures what is gained where tokens that a grammar forces take no step of their own."""

import asyncio
import re
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from inlay_bench.batch import BenchFailed
from inlay_bench.pairs import median_ratio
from inlay_bench.rounds import in_turn, rounds
from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.serving.verb import run_bench

MODEL = Path(__file__).parents[3] / "front" / "inlay" / "embedded_model"
DTYPE = "float32"
"""In which both sides give the same tokens, but for kernels that add up in another order."""
NUM_NEW_TOKENS = 240
INPUTS = "Extract the objects as JSON, as number {} of {}.\n\n"
_COUNTER = re.compile(r"^(inlay_\w+) ([\d.]+)$", re.MULTILINE)


def record(**properties: object) -> dict[str, Any]:
    """A schema of an object that has these and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "maxLength": 24}
DIGITS = {"type": "string", "pattern": "^[0-9]{5}$"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "arguments of a tool": record(
        location=TEXT, unit={"enum": ["celsius", "fahrenheit"]}, days={"type": "integer"}
    ),
    "TGI's example": record(
        location=TEXT,
        activity=TEXT,
        animals_seen={"type": "integer", "minimum": 1, "maximum": 5},
        animals={"type": "array", "items": TEXT, "maxItems": 4},
    ),
    "an order": record(
        customer=record(full_name=TEXT, email_address=TEXT, is_member={"type": "boolean"}),
        shipping_address=record(street=TEXT, city=TEXT, postal_code=DIGITS),
        payment_status={"enum": ["awaiting_payment", "paid_in_full", "refunded"]},
        items={
            "type": "array",
            "items": record(product_id={"type": "integer"}, quantity={"enum": [1, 2, 3]}),
            "minItems": 2,
            "maxItems": 3,
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class ForcedOptions:
    """One run."""

    stream_counts: tuple[int, ...] = (1, 8)
    num_rounds: int = 5
    minutes: float = 2.0
    num_threads: int = 1
    folder: Path = Path(".bench")


class Rate(NamedTuple):
    """What one batch of answers took."""

    tokens_per_second: float
    tokens_per_step: float
    share_forced: float
    """Of all tokens, in [0, 1]."""


class ForcedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One schema and number of streams, over all rounds."""

    schema: str
    num_streams: int
    with_forced: list[Rate]
    without: list[Rate]

    @property
    def ratio(self) -> float:
        """Tokens/s with over without."""
        with_forced, without = (
            [rate.tokens_per_second for rate in rates] for rates in (self.with_forced, self.without)
        )
        return median_ratio(with_forced, without)


class ForcedResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    num_threads: int
    points: list[ForcedPoint]


async def measure(options: ForcedOptions) -> ForcedResult:
    """Rounds with and without in turn, until the time is spent. Raises BenchFailed."""
    points = [
        ForcedPoint(schema=name, num_streams=num_streams, with_forced=[], without=[])
        for name in SCHEMAS
        for num_streams in options.stream_counts
    ]
    async with AsyncExitStack() as stack:
        sides = [
            await stack.enter_async_context(
                start_server(
                    MODEL, DTYPE, options.num_threads, options.folder / "forced.log", flags
                )
            )
            for flags in ((), ("--no-forced-tokens",))
        ]
        for point in points:  # so that grammars are compiled
            for side in sides:
                await rate(side, point, "warm-up")
        for index in rounds(options.num_rounds, options.minutes):
            for point in points:
                await run_pair(sides, point, index)
    return ForcedResult(
        when=now(), machine=describe_machine(), num_threads=options.num_threads, points=points
    )


async def run_pair(sides: Sequence[ServerSide], point: ForcedPoint, index: int) -> None:
    """With and without, who comes first in turn. Raises BenchFailed."""
    for is_without in in_turn(index):
        rates = point.without if is_without else point.with_forced
        rates.append(await rate(sides[is_without], point, f"round {index}"))


async def rate(side: ServerSide, point: ForcedPoint, moment: str) -> Rate:
    """Of one batch of answers, from the first token to the last. Raises BenchFailed."""
    inputs = [INPUTS.format(place, moment) for place in range(point.num_streams)]
    grammar = {"type": "json", "value": SCHEMAS[point.schema]}
    parameters = {"grammar": grammar, "do_sample": True, "temperature": 0.7, "seed": 1}
    before = await counters(side)
    streams = await side.ask(inputs, NUM_NEW_TOKENS, parameters)
    after = await counters(side)
    start = min(stream.first_token_seconds for stream in streams)
    end = max(stream.last_token_seconds for stream in streams)
    num_tokens = sum(len(stream.token_ids) for stream in streams)
    spent = {name: after[name] - before[name] for name in after}
    return Rate(
        tokens_per_second=num_tokens / (end - start),
        tokens_per_step=num_tokens / spent["inlay_steps"],
        share_forced=spent["inlay_forced_tokens"] / num_tokens,
    )


async def counters(side: ServerSide) -> dict[str, float]:
    """What the server has counted so far. Raises BenchFailed."""
    url = f"http://{side.host}:{side.port}/metrics"
    try:
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=60).read())
    except OSError as error:
        raise BenchFailed(f"no metrics: {error}") from error
    return {name: float(value) for name, value in _COUNTER.findall(page.decode())}


def describe(point: ForcedPoint) -> str:
    """One line of the table."""
    share = median(one.share_forced for one in point.with_forced)
    steps = [
        median(one.tokens_per_step for one in rates) for rates in (point.without, point.with_forced)
    ]
    rates = [
        median(one.tokens_per_second for one in side) for side in (point.without, point.with_forced)
    ]
    return (
        f"{point.schema:20} {point.num_streams:3} streams: {share:4.0%} forced,"
        f" tokens a step {steps[0]:.2f} -> {steps[1]:.2f},"
        f" tokens/s {rates[0]:.0f} -> {rates[1]:.0f}, ratio {point.ratio:.2f}"
    )


def write_page(result: ForcedResult) -> str:
    """The table for people."""
    lines = ["whole answers under a schema over HTTP, without and with forced tokens at once"]
    return "\n".join([*lines, *(f"  {describe(point)}" for point in result.points)])


def parse_options(argv: Sequence[str] | None = None) -> ForcedOptions:
    """The options of a command line."""
    words = "What forced tokens gain."
    return read_options(ForcedOptions, "inlay_bench.serving.forced", words, argv, num_rounds=1)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("forced", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
