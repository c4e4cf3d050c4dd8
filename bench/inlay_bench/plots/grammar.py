"""Decode tokens/s with a JSON schema on every row over tokens/s without."""

from pathlib import Path

from inlay_bench.plots.style import GREY, figure
from inlay_bench.serving.grammar import BAR, GrammarResult


def draw(result: GrammarResult, path: Path) -> None:
    """The ratio of each round, and its median."""
    note = f"{result.machine}, {result.num_threads} threads, {result.when}"
    counts = [point.num_streams for point in result.points]
    with figure(path, "Tokens/s with a JSON schema over tokens/s without", note) as (panel,):
        for point in result.points:
            pairs = zip(point.held, point.free, strict=True)
            ratios = [held / free for held, free in pairs]
            panel.plot([point.num_streams] * len(ratios), ratios, ".", color=GREY)
        panel.plot(counts, [point.ratio for point in result.points], "o-", color="#b3123f")
        panel.axhline(BAR, color=GREY, ls=":", lw=1)
        panel.set_xscale("log", base=2)
        panel.set_xticks(counts, [str(each) for each in counts])
        panel.set_xlabel("streams")
        panel.set_ylabel(f"times (dotted: the goal, {BAR})")
