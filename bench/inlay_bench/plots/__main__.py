"""Copies the newest result of each bench to `docs/plots` and draws what stands there."""

import argparse
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from inlay_bench.grammars.results import GrammarsResult
from inlay_bench.peers.results import PeersResult
from inlay_bench.plots import (
    explosions,
    gaps,
    grammar,
    growth,
    memory,
    schemas,
    speed_up,
    throughput,
    workers,
)
from inlay_bench.serving.explosions import ExplosionsResult
from inlay_bench.serving.grammar import GrammarResult
from inlay_bench.serving.images import ImagesResult
from inlay_bench.serving.router import RouterResult
from inlay_bench.serving.stalls import StallsResult
from inlay_bench.soak.result import SoakResult


@dataclass(frozen=True)
class Source:
    """One bench: its result, and the plots of it by file name."""

    name: str
    result: type[msgspec.Struct]
    plots: dict[str, Callable[[Any, Path], None]]
    can_be_drawn: Callable[[Any], bool] = lambda result: True
    """Whether a run measured what its plots show; a part of a bench may be run alone."""


SOURCES = (
    Source("peers", PeersResult, {"throughput": throughput.draw, "speed-up": speed_up.draw}),
    Source("stalls", StallsResult, {"inter-token-latency": gaps.draw}),
    Source("router", RouterResult, {"growth": growth.draw}),
    Source("grammar", GrammarResult, {"grammar": grammar.draw}),
    Source(
        "grammars",
        GrammarsResult,
        {"schemas": schemas.draw},
        can_be_drawn=lambda result: bool(result.collections),
    ),
    Source("bombs", ExplosionsResult, {"bombs": explosions.draw}),
    Source("images", ImagesResult, {"image-workers": workers.draw}),
    Source("soak", SoakResult, {"memory": memory.draw}),
)


def take_newest(results: Path, folder: Path) -> None:
    """Bring the newest result of each bench that can be drawn; others keep what they had."""
    for source in SOURCES:
        for path in sorted(results.glob(f"{source.name}-*.json"), reverse=True):
            if source.can_be_drawn(msgspec.json.decode(path.read_bytes(), type=source.result)):
                shutil.copyfile(path, folder / f"{source.name}.json")
                break


def draw_all(folder: Path) -> list[Path]:
    """Every plot of the results in a folder; the files written."""
    written = []
    for source in SOURCES:
        data = folder / f"{source.name}.json"
        if not data.exists():
            continue
        result = msgspec.json.decode(data.read_bytes(), type=source.result)
        for name, draw in source.plots.items():
            draw(result, folder / f"{name}.png")
            written.append(folder / f"{name}.png")
    return written


def main() -> int:
    """Draws; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m inlay_bench.plots", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path(".bench/results"))
    parser.add_argument("--folder", type=Path, default=Path("docs/plots"))
    parser.add_argument("--redraw", action="store_true", help="only draw what stands there")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.redraw:
        take_newest(options.results, options.folder)
    for path in draw_all(options.folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
