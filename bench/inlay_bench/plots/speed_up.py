"""How many times better inlay is than each peer, row by row."""

from pathlib import Path

from matplotlib.axes import Axes

from inlay_bench.peers.recipe import OURS, RECIPES
from inlay_bench.peers.results import ModelResult, PeersResult, RowResult
from inlay_bench.plots.style import COLOURS, GREY, figure

GOAL = 1.2
BAR_HEIGHT = 0.19


def draw(result: PeersResult, path: Path) -> None:
    """One panel a model."""
    models = [model for model in result.models if comparable(model)]
    note = f"{result.machine}, {result.num_threads} threads, {result.dtype}, {result.when}"
    title = "Speed-up of inlay over each peer\ntext: engine in process, pictures: over HTTP"
    with figure(path, title, note, len(models)) as panels:
        for panel, model in zip(panels, models, strict=True):
            draw_model(panel, model)


def draw_model(panel: Axes, model: ModelResult) -> None:
    """One group of bars a row."""
    rows = comparable(model)
    peers = [name for name in RECIPES if name not in OURS]
    for place, name in enumerate(peers):
        bars = [
            (index + (place - len(peers) / 2 + 0.5) * BAR_HEIGHT, speed_up(row, name))
            for index, row in enumerate(rows)
            if name in row.engines
        ]
        if bars:
            heights, widths = zip(*bars, strict=True)
            panel.barh(heights, widths, BAR_HEIGHT * 0.9, color=COLOURS[name], label=name)
    panel.axvline(1, color=GREY, lw=1)
    panel.axvline(GOAL, color=GREY, lw=1, ls=":")
    panel.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=7)
    panel.invert_yaxis()
    panel.set_xlabel(f"times (dotted: the goal, {GOAL})")
    panel.set_title(model.title, fontsize=9)
    panel.legend(fontsize=7)


def comparable(model: ModelResult) -> list[RowResult]:
    """Rows with a figure of ours and one of a peer."""
    return [row for row in model.rows if our_name(row) is not None and row.best_peer() is not None]


def our_name(row: RowResult) -> str | None:
    """The engine that is compared: in process where that was measured, else over HTTP."""
    return next((name for name in OURS if name in row.engines), None)


def speed_up(row: RowResult, peer: str) -> float:
    """Of inlay over one peer."""
    name = our_name(row)
    assert name is not None
    ours, theirs = row.engines[name].median, row.engines[peer].median
    return ours / theirs if row.is_more_better else theirs / ours
