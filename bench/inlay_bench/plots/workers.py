"""Requests/s with a new picture in each, against the number of image workers."""

from pathlib import Path
from statistics import median

from inlay_bench.plots.style import figure
from inlay_bench.serving.images import ImagesResult


def draw(result: ImagesResult, path: Path) -> None:
    """Medians, and the spread of the rounds."""
    counts = [point.num_workers for point in result.points]
    medians = [median(point.requests_per_second) for point in result.points]
    lows = [min(point.requests_per_second) for point in result.points]
    highs = [max(point.requests_per_second) for point in result.points]
    note = f"{result.machine}, {result.num_threads} threads of the shard, {result.when}"
    with figure(path, "Requests/s, a new 3-megapixel picture in each", note) as (panel,):
        panel.fill_between(counts, lows, highs, color="#b3123f", alpha=0.15)
        panel.plot(counts, medians, "o-", color="#b3123f")
        panel.set_xticks(counts)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("image workers")
        panel.set_ylabel("requests/s")
