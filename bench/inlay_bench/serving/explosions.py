"""Measures how long running streams wait for their next token while hard grammars are compiled."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

from inlay_bench.batch import BenchFailed
from inlay_bench.grammars.vocabularies import EMBEDDED
from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.serving.bombs import Parameters, bombs, harmless
from inlay_bench.serving.grammar import PARAMETERS
from inlay_bench.serving.quantiles import quantile
from inlay_bench.serving.running_stream import RunningStream, open_stream
from inlay_bench.serving.verb import run_bench

NUM_SETTLE_TOKENS = 20
MAX_NEW_TOKENS = 4000
NUM_BOMB_TOKENS = 48
QUESTION = "What is in the picture?"


@dataclass(frozen=True, kw_only=True)
class ExplosionOptions:
    """One run."""

    num_rounds: int = 5
    seconds: float = 3.0
    """Of each phase of a round."""
    num_streams: int = 4
    """Neighbours."""
    num_clients: int = 4
    """That send one hard grammar after the other."""
    num_threads: int = 1
    folder: Path = Path(".bench")


class ExplosionsResult(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps between two tokens of the neighbours, in milliseconds."""

    when: str
    machine: str
    num_threads: int
    num_streams: int
    num_clients: int
    quiet: list[float]
    """While nothing arrives."""
    harmless: list[float]
    """While as many clients send grammars that are easy to compile."""
    bombs: list[float]
    outcomes: dict[str, int]
    """Of the hard grammars by name and what became of them."""


@dataclass
class Explosions:
    """The rounds on one server."""

    server: ServerSide
    options: ExplosionOptions
    gaps: dict[str, list[float]] = field(
        default_factory=lambda: {"quiet": [], "harmless": [], "bombs": []}
    )
    outcomes: Counter[str] = field(default_factory=Counter)

    async def run_round(self, arrivals: dict[str, Iterator[tuple[str, Parameters]]]) -> None:
        """Each phase once, beside streams that are new in each. Raises BenchFailed."""
        for phase, gaps in self.gaps.items():
            async with AsyncExitStack() as stack:
                streams = [
                    await stack.enter_async_context(self._stream(index))
                    for index in range(self.options.num_streams)
                ]
                for stream in streams:
                    await stream.wait_for(NUM_SETTLE_TOKENS)
                gaps += await self._phase(streams, arrivals.get(phase))

    def _stream(self, index: int) -> AbstractAsyncContextManager[RunningStream]:
        text = f"{QUESTION} {index}"
        return open_stream(self.server.host, self.server.port, text, MAX_NEW_TOKENS, PARAMETERS)

    async def _phase(
        self, streams: Sequence[RunningStream], arriving: Iterator[tuple[str, Parameters]] | None
    ) -> list[float]:
        """The gaps of all streams until clients that send what arrives have their last answer."""
        start = time.perf_counter()
        end = start + self.options.seconds
        clients = self.options.num_clients if arriving is not None else 0
        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                assert arriving is not None
                tasks.create_task(self._send(arriving, end))
            await asyncio.sleep(end - time.perf_counter())
        for stream in streams:
            await stream.wait_for(stream.num_events + 1)
        now = time.perf_counter()
        return [gap for stream in streams for gap in stream.gaps(start, now)]

    async def _send(self, arriving: Iterator[tuple[str, Parameters]], end: float) -> None:
        """One request after the other until `end`."""
        while time.perf_counter() < end:
            name, parameters = next(arriving)
            try:
                await self.server.ask([QUESTION], NUM_BOMB_TOKENS, parameters)
            except BenchFailed as error:
                self.outcomes[f"{name}: {failure(error)}"] += 1
            else:
                self.outcomes[f"{name}: answered"] += 1


def failure(error: BenchFailed) -> str:
    """How a request with a hard grammar may end. Any other way is raised."""
    if " 422" in str(error):
        return "refused"
    if "grammar cannot be followed" in str(error):
        return "ended, too complex to be followed"
    raise error


async def measure(options: ExplosionOptions) -> ExplosionsResult:
    """All rounds. Raises BenchFailed."""
    log = options.folder / "explosions-server.log"
    arrivals = {"harmless": harmless(), "bombs": bombs()}
    async with start_server(EMBEDDED, "float32", options.num_threads, log) as server:
        await Explosions(server, options).run_round(arrivals)  # warms up
        measured = Explosions(server, options)
        for index in range(options.num_rounds):
            await measured.run_round(arrivals)
            print(f"round {index + 1}: {describe(measured)}", file=sys.stderr, flush=True)
    gaps = {name: [round(1000 * gap, 2) for gap in gaps] for name, gaps in measured.gaps.items()}
    return ExplosionsResult(
        when=now(),
        machine=describe_machine(),
        num_threads=options.num_threads,
        num_streams=options.num_streams,
        num_clients=options.num_clients,
        outcomes=dict(sorted(measured.outcomes.items())),
        **gaps,
    )


def describe(explosions: Explosions) -> str:
    """What is known so far in a few words."""
    words = [
        f"{name} {1000 * median(gaps):.2f} ms, p99 {1000 * quantile(gaps, 0.99):.2f}"
        for name, gaps in explosions.gaps.items()
    ]
    return "; ".join(words)


def write_page(result: ExplosionsResult) -> str:
    """The table for people."""
    heading = "".join(f"{name:>10}" for name in ("gaps", "median", "p90", "p99", "longest"))
    lines = ["neighbours wait for their next token (ms)", f"{'':24}{heading}"]
    for name in ("quiet", "harmless", "bombs"):
        gaps = getattr(result, name)
        cells = [quantile(gaps, share) for share in (0.5, 0.9, 0.99, 1.0)]
        lines.append(f"{name:24}{len(gaps):10}" + "".join(f"{cell:10.2f}" for cell in cells))
    lines += [f"  {name}: {number}" for name, number in result.outcomes.items()]
    return "\n".join(lines)


def parse_options(argv: Sequence[str] | None = None) -> ExplosionOptions:
    """The options of a command line."""
    words = "Running streams' gaps while hard grammars are compiled."
    return read_options(
        ExplosionOptions, "inlay_bench.serving.explosions", words, argv, num_rounds=1
    )


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("bombs", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
