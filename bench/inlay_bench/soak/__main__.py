"""`make soak`: half an hour of distinct pictures and grammars at overload.

Ends with 1 when a request failed, or when something was left behind.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from inlay_bench.batch import BenchFailed
from inlay_bench.saved import save
from inlay_bench.soak.result import page
from inlay_bench.soak.soak import soak


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--clients", type=int, default=96, help="how many at a time (96)")
    parser.add_argument("--looks", type=int, default=360, help="samples of memory (360)")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for results (.bench)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        result = asyncio.run(
            soak(
                minutes=options.minutes,
                num_clients=options.clients,
                num_looks=options.looks,
                log=options.folder / "soak.log",
            )
        )
    except BenchFailed as error:
        print(f"the soak failed: {error}", file=sys.stderr)
        return 1
    print(page(result))
    print(f"figures: {save(result, 'soak', options.folder)}")
    return 1 if result.leaks or result.counts.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
