"""Runs the bench: makes the model, measures each type, prints the page and saves the figures."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from inlay_bench.batch import BenchFailed
from inlay_bench.comparison import Comparison, cases
from inlay_bench.figures import CaseFigures, summarize
from inlay_bench.floor import MachineSpeed
from inlay_bench.generate_side import start_generate
from inlay_bench.options import DTYPE_BYTES, BenchOptions, parse_options
from inlay_bench.progress import Progress
from inlay_bench.report import Report
from inlay_bench.server_side import start_server
from inlay_bench.shape import BENCH_SHAPE


async def measure(options: BenchOptions) -> Report:
    """The whole measurement. Raises BenchFailed."""
    num_cases = len(options.dtypes) * len(options.kinds) * len(options.stream_counts)
    progress = Progress(num_cases * (options.num_rounds + 1), sys.stderr)
    folder = make_model(options, progress)
    speeds: dict[str, MachineSpeed] = {}
    figures: list[CaseFigures] = []
    for dtype in options.dtypes:
        speeds[dtype], group = await measure_dtype(options, dtype, folder, progress)
        figures += group
    return Report(
        options=options,
        speeds=speeds,
        num_weights=BENCH_SHAPE.text.num_decode_weights,
        figures=tuple(figures),
    )


async def measure_dtype(
    options: BenchOptions, dtype: str, folder: Path, progress: Progress
) -> tuple[MachineSpeed, list[CaseFigures]]:
    """Both sides in one type. Raises BenchFailed."""
    async with AsyncExitStack() as stack:
        progress.note(f"{dtype}: loading the model on both sides")
        log = options.folder / f"server-{dtype}.log"
        threads = options.num_threads
        generate = await stack.enter_async_context(start_generate(folder, dtype, threads))
        speed = await generate.measure_machine()
        inlay = await stack.enter_async_context(start_server(folder, dtype, threads, log))
        comparison = Comparison(
            inlay=inlay, generate=generate, shape=BENCH_SHAPE, options=options, progress=progress
        )
        num_weights = BENCH_SHAPE.text.num_decode_weights
        return speed, [
            summarize(case, await comparison.run(case), speed, num_weights, DTYPE_BYTES[dtype])
            for case in cases(options, dtype)
        ]


def make_model(options: BenchOptions, progress: Progress) -> Path:
    """The folder of the bench's model, made by a process of its own when it is missing."""
    folder = (options.model_cache / f"model-{BENCH_SHAPE.fingerprint}").absolute()
    if not folder.exists():
        progress.note(f"making the model in {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "inlay_bench.bench_model", str(folder)]
        if subprocess.run(command, check=False).returncode != 0:
            raise BenchFailed("the model could not be made (the reason stands above)")
    return folder


def main() -> int:
    """The exit code: 1 when the measurement failed, or an answer in float32 was wrong."""
    options = parse_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        report = asyncio.run(measure(options))
    except BenchFailed as error:
        print(f"the bench failed: {error}", file=sys.stderr)
        return 1
    print(report.write())
    print(f"figures: {report.save(options.folder)}")
    return 0 if report.has_equal_texts else 1


if __name__ == "__main__":
    sys.exit(main())
