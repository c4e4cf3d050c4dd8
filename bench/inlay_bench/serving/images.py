"""Measures requests/s with a new large picture in each, against the number of image workers."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import msgspec

from inlay_bench.peers.environment import run
from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.serving.large_picture import draw_large_picture, markdown
from inlay_bench.serving.verb import run_bench
from inlay_bench.shape import BENCH_SHAPE

NUM_REQUESTS = 16
"""Of a round, all in flight together."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """One run."""

    worker_counts: tuple[int, ...] = (1, 2, 4)
    num_rounds: int = 4
    num_threads: int = 2
    folder: Path = Path(".bench")


class ImagePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One number of image workers."""

    num_workers: int
    requests_per_second: list[float]
    """Of each round."""


class ImagesResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    num_threads: int
    num_requests: int
    points: list[ImagePoint]


async def measure(options: ImageOptions) -> ImagesResult:
    """One server after the other: they would share the cores. Raises BenchFailed."""
    folder = bench_model(options.folder)
    log = options.folder / "images-server.log"
    points = []
    for num_workers in options.worker_counts:
        flags = ("--image-workers", str(num_workers))
        server = start_server(folder, "bfloat16", options.num_threads, log, flags)
        async with server as side:
            await ask_all(side, f"warm-up {num_workers}")
            rates = [
                await ask_all(side, f"{num_workers} workers, round {index}")
                for index in range(options.num_rounds)
            ]
        points.append(ImagePoint(num_workers=num_workers, requests_per_second=rates))
        print(describe(points[-1]), file=sys.stderr, flush=True)
    return ImagesResult(
        when=now(),
        machine=describe_machine(),
        num_threads=options.num_threads,
        num_requests=NUM_REQUESTS,
        points=points,
    )


def bench_model(folder: Path) -> Path:
    """The model with a small eye, so that preparing a picture costs more than seeing it."""
    model = (folder / f"model-{BENCH_SHAPE.fingerprint}").absolute()
    if not model.exists():
        run([sys.executable, "-m", "inlay_bench.bench_model", str(model)], folder)
    return model


async def ask_all(side: ServerSide, seed: str) -> float:
    """Requests/s of one round of pictures that came never before. Raises BenchFailed."""
    random = Random(seed)
    inputs = [markdown(draw_large_picture(random)) + " bada" for _ in range(NUM_REQUESTS)]
    start = time.perf_counter()
    await side.ask(inputs, 1)
    return NUM_REQUESTS / (time.perf_counter() - start)


def describe(point: ImagePoint) -> str:
    """In a few words."""
    plural = "" if point.num_workers == 1 else "s"
    return f"{point.num_workers} worker{plural}: {median(point.requests_per_second):.2f} requests/s"


def write_page(result: ImagesResult) -> str:
    """The table for people."""
    heading = (
        f"requests/s, a new picture of 3 megapixels in each, {result.num_requests} in flight,"
        f" {result.machine}"
    )
    return "\n".join([heading, *(f"  {describe(point)}" for point in result.points)])


def parse_options(argv: Sequence[str] | None = None) -> ImageOptions:
    """The options of a command line."""
    words = "Requests/s against image workers."
    return read_options(ImageOptions, "inlay_bench.serving.images", words, argv, num_rounds=1)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("images", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
