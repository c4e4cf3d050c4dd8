"""Measures how long a running text stream waits for its next token while others arrive."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import msgspec
from tokenizers import Tokenizer

from inlay_bench.peers.models import MODELS, model_in_form
from inlay_bench.peers.workload import Words
from inlay_bench.rounds import rounds
from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.serving.large_picture import draw_large_picture, markdown
from inlay_bench.serving.quantiles import quantile
from inlay_bench.serving.running_stream import RunningStream, open_stream
from inlay_bench.serving.verb import run_bench

BAR = 3.0
"""p99 beside arriving pictures over the quiet median; below it is the goal."""
NUM_ARRIVALS = 4
NUM_QUIET_TOKENS = 60
NUM_SETTLE_TOKENS = 10
NUM_PROMPT_TOKENS = 2048
MAX_NEW_TOKENS = 2000


@dataclass(frozen=True, kw_only=True)
class StallOptions:
    """One run."""

    num_rounds: int = 8
    minutes: float = 2.0
    num_threads: int = 2
    folder: Path = Path(".bench")


class StallsResult(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps between two tokens of the running stream, in milliseconds."""

    when: str
    machine: str
    num_threads: int
    quiet: list[float]
    images: list[float]
    """While 4 large pictures arrive at once and are answered."""
    prefills: list[float]
    """While 4 prompts of 2,048 tokens arrive at once and are answered."""


@dataclass
class Stalls:
    """The rounds on one server."""

    server: ServerSide
    words: Words
    quiet: list[float] = field(default_factory=list)
    images: list[float] = field(default_factory=list)
    prefills: list[float] = field(default_factory=list)

    async def run_round(self, index: int) -> None:
        """Quiet, then pictures, then long prompts, beside one stream. Raises BenchFailed."""
        random = Random(f"stalls {index}")
        text = self.words.prompt(random, 32).text
        stream = open_stream(self.server.host, self.server.port, text, MAX_NEW_TOKENS)
        async with stream as running:
            await running.wait_for(NUM_SETTLE_TOKENS)
            start = time.perf_counter()
            await running.wait_for(NUM_SETTLE_TOKENS + NUM_QUIET_TOKENS)
            self.quiet += running.gaps(start, time.perf_counter())
            self.images += await self.beside(running, pictures(self.words, random))
            await running.wait_for(running.num_events + NUM_SETTLE_TOKENS)
            self.prefills += await self.beside(running, long_prompts(self.words, random))

    async def beside(self, running: RunningStream, inputs: Sequence[str]) -> list[float]:
        """The gaps of the running stream until all of `inputs` have their first token."""
        start = time.perf_counter()
        await self.server.ask(inputs, 1)
        await running.wait_for(running.num_events + 1)
        return running.gaps(start, time.perf_counter())


def pictures(words: Words, random: Random) -> list[str]:
    """Questions about large pictures that came never before."""
    return [
        markdown(draw_large_picture(random)) + words.prompt(random, 8).text
        for _ in range(NUM_ARRIVALS)
    ]


def long_prompts(words: Words, random: Random) -> list[str]:
    """Long texts that came never before."""
    return [words.prompt(random, NUM_PROMPT_TOKENS).text for _ in range(NUM_ARRIVALS)]


async def measure(options: StallOptions) -> StallsResult:
    """Rounds until the time is spent. Raises BenchFailed."""
    folder = model_in_form(MODELS["smolvlm"], "safetensors", options.folder)
    words = Words(Tokenizer.from_file(str(folder / "tokenizer.json")))
    log = options.folder / "stalls-server.log"
    async with start_server(folder, "bfloat16", options.num_threads, log) as server:
        warm_up = Stalls(server, words)
        await warm_up.run_round(-1)
        stalls = Stalls(server, words)
        for index in rounds(options.num_rounds, options.minutes):
            await stalls.run_round(index)
            print(f"round {index + 1}: {describe(stalls)}", file=sys.stderr, flush=True)
    return StallsResult(
        when=now(),
        machine=describe_machine(),
        num_threads=options.num_threads,
        quiet=milliseconds(stalls.quiet),
        images=milliseconds(stalls.images),
        prefills=milliseconds(stalls.prefills),
    )


def milliseconds(seconds: Sequence[float]) -> list[float]:
    """To a hundredth."""
    return [round(1000 * each, 2) for each in seconds]


def describe(stalls: Stalls) -> str:
    """What is known so far in a few words."""
    quiet = median(stalls.quiet)
    images, prefills = quantile(stalls.images, 0.99), quantile(stalls.prefills, 0.99)
    return (
        f"quiet {1000 * quiet:.1f} ms; p99 beside pictures {images / quiet:.2f} times that,"
        f" beside long prompts {prefills / quiet:.2f}"
    )


def write_page(result: StallsResult) -> str:
    """The table for people."""
    quiet = median(result.quiet)
    lines = ["a running stream waits for its next token (ms)", heading()]
    for name, gaps in (
        ("quiet", result.quiet),
        (f"{NUM_ARRIVALS} pictures of 3 megapixels arrive", result.images),
        (f"{NUM_ARRIVALS} prompts of {NUM_PROMPT_TOKENS} tokens arrive", result.prefills),
    ):
        shares = [quantile(gaps, share) for share in (0.5, 0.9, 0.99)]
        cells = [*shares, max(gaps), shares[2] / quiet]
        lines.append(f"{name:36}{len(gaps):6}" + "".join(f"{cell:10.1f}" for cell in cells))
    ratio = quantile(result.images, 0.99) / quiet
    verdict = "reached" if ratio < BAR else "missed"
    lines.append(f"goal: p99 beside pictures below {BAR:.0f} quiet medians: {ratio:.2f}, {verdict}")
    return "\n".join(lines)


def heading() -> str:
    """Of the table."""
    names = ("gaps", "median", "p90", "p99", "longest", "p99/quiet")
    return " " * 36 + f"{names[0]:>6}" + "".join(f"{name:>10}" for name in names[1:])


def parse_options(argv: Sequence[str] | None = None) -> StallOptions:
    """The options of a command line."""
    words = "A running stream's gaps while pictures and long prompts arrive."
    return read_options(StallOptions, "inlay_bench.serving.stalls", words, argv, num_rounds=1)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("stalls", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
