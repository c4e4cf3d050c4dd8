"""Measures what a JSON schema on every row costs in decode tokens/s."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import msgspec
from tokenizers import Tokenizer

from inlay_bench.pairs import goal_line, median_ratio
from inlay_bench.peers.models import MODELS, model_in_form
from inlay_bench.peers.workload import Words, decode_rate
from inlay_bench.rounds import in_turn, rounds
from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.scrape import scrape
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.serving.mask_times import MaskTimes, mask_times
from inlay_bench.serving.running_stream import run_together
from inlay_bench.serving.verb import run_bench

BAR = 0.97
"""Tokens/s with a schema over tokens/s without; at least this is the goal."""
NUM_PROMPT_TOKENS = 32
NUM_NEW_TOKENS = 64
NUM_WARM_UP_TOKENS = 4
SCHEMA = {
    "type": "array",
    "minItems": 100,
    "items": {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green", "blue", "yellow"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 999},
            "label": {"type": "string", "maxLength": 12},
            "is_round": {"type": "boolean"},
        },
        "required": ["colour", "count", "label", "is_round"],
        "additionalProperties": False,
    },
}
"""Long enough that no answer ends early, and made of choices, numbers and free text."""
PARAMETERS = {"grammar": {"type": "json", "value": SCHEMA}}


@dataclass(frozen=True, kw_only=True)
class GrammarOptions:
    """One run."""

    stream_counts: tuple[int, ...] = (1, 8, 32)
    num_rounds: int = 9
    minutes: float = 2.0
    num_threads: int = 2
    folder: Path = Path(".bench")


class GrammarPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One number of streams: tokens/s of each round."""

    num_streams: int
    free: list[float]
    held: list[float]
    """With the schema."""
    masks: list[MaskTimes] = []
    """Of the rounds with the schema."""

    @property
    def ratio(self) -> float:
        """With the schema over without."""
        return median_ratio(self.held, self.free)


class GrammarResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    num_threads: int
    points: list[GrammarPoint]


async def measure(options: GrammarOptions) -> GrammarResult:
    """Rounds with and without in turn, until the time is spent. Raises BenchFailed."""
    folder = model_in_form(MODELS["smol"], "safetensors", options.folder)
    words = Words(Tokenizer.from_file(str(folder / "tokenizer.json")))
    log = options.folder / "grammar-server.log"
    points = [GrammarPoint(num_streams=n, free=[], held=[]) for n in options.stream_counts]
    async with start_server(folder, "bfloat16", options.num_threads, log) as server:
        for point in points:
            for is_held in (False, True):
                await rate(server, words, point, "warm-up", is_held, NUM_WARM_UP_TOKENS)
        for index in rounds(options.num_rounds, options.minutes):
            for point in points:
                await run_pair(server, words, point, index)
                print(f"round {index + 1}: {describe(point)}", file=sys.stderr, flush=True)
    return GrammarResult(
        when=now(), machine=describe_machine(), num_threads=options.num_threads, points=points
    )


async def run_pair(server: ServerSide, words: Words, point: GrammarPoint, index: int) -> None:
    """With and without, who comes first in turn. Raises BenchFailed."""
    for is_held in in_turn(index):
        before = await scrape(server.host, server.port)
        reached = await rate(server, words, point, f"round {index}", is_held, NUM_NEW_TOKENS)
        (point.held if is_held else point.free).append(reached)
        if is_held:
            point.masks.append(mask_times(before, await scrape(server.host, server.port)))


async def rate(
    server: ServerSide,
    words: Words,
    point: GrammarPoint,
    moment: str,
    is_held: bool,
    num_new_tokens: int,
) -> float:
    """Decode tokens/s of one batch. Raises BenchFailed."""
    random = Random(f"{moment}, {is_held}, {point.num_streams}")
    inputs = [words.prompt(random, NUM_PROMPT_TOKENS).text for _ in range(point.num_streams)]
    parameters = PARAMETERS if is_held else {}
    return decode_rate(
        await run_together(server.host, server.port, inputs, num_new_tokens, parameters)
    )


def describe(point: GrammarPoint) -> str:
    """What is known so far in a few words."""
    free, held = median(point.free), median(point.held)
    words = (
        f"{point.num_streams:2} streams: {held:.1f} tokens/s with the schema, {free:.1f} without:"
        f" {point.ratio:.3f}"
    )
    if not point.masks:
        return words
    filling, waiting, hidden = (
        median(values)
        for values in zip(*((e.filling, e.waiting, e.hidden) for e in point.masks), strict=True)
    )
    return (
        f"{words}; masks take {filling:.0f} µs a step, of which it waits {waiting:.0f}:"
        f" {hidden:.0%} are hidden"
    )


def write_page(result: GrammarResult) -> str:
    """The table for people."""
    lines = ["decode tokens/s over HTTP with a JSON schema on every row, and without"]
    lines += [f"  {describe(point)}" for point in result.points]
    return "\n".join([*lines, goal_line((point.ratio for point in result.points), BAR)])


def parse_options(argv: Sequence[str] | None = None) -> GrammarOptions:
    """The options of a command line."""
    words = "What a JSON schema costs."
    return read_options(GrammarOptions, "inlay_bench.serving.grammar", words, argv, num_rounds=1)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("grammar", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
