"""What the smaller benches do from their options to an exit code."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from inlay_bench.batch import BenchFailed
from inlay_bench.saved import save

Result = TypeVar("Result", bound=msgspec.Struct)


def run_bench(
    name: str,
    measuring: Coroutine[None, None, Result],
    write_page: Callable[[Result], str],
    folder: Path,
) -> int:
    """Measure, print and save; the exit code, 1 when the measurement failed."""
    return run_blocking_bench(name, partial(asyncio.run, measuring), write_page, folder)


def run_blocking_bench(
    name: str, measure: Callable[[], Result], write_page: Callable[[Result], str], folder: Path
) -> int:
    """The same for what needs no event loop, or has its own."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = measure()
    except BenchFailed as error:
        print(f"the bench failed: {error}", file=sys.stderr)
        return 1
    print(write_page(result))
    print(f"figures: {save(result, name, folder)}")
    return 0
