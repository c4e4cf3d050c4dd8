"""Distributions of the gaps between tokens, on scales that show their tails."""

from collections.abc import Iterable

from matplotlib.axes import Axes

from inlay_bench.plots.style import GREY

Line = tuple[Iterable[float], str, str]
"""Gaps in milliseconds, their label and colour."""


def draw_tails(panel: Axes, lines: Iterable[Line]) -> None:
    """For each length of a gap, the share of gaps at least as long."""
    for gaps, label, colour in lines:
        ordered = sorted(gaps)
        shares = [1 - place / len(ordered) for place in range(len(ordered))]
        panel.step(ordered, shares, where="post", label=label, color=colour)
    panel.axhline(0.01, color=GREY, lw=0.8)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("ms to the next token")
    panel.set_ylabel("share of gaps at least as long (line: p99)")
