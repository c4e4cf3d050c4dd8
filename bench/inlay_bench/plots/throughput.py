"""Decode tokens/s against the number of streams, every engine and the floor."""

from pathlib import Path

from matplotlib.axes import Axes

from inlay_bench.peers.recipe import RECIPES
from inlay_bench.peers.results import ModelResult, PeersResult, RowResult
from inlay_bench.plots.style import COLOURS, GREY, figure


def draw(result: PeersResult, path: Path) -> None:
    """One panel a model that reads text."""
    models = [model for model in result.models if decode_rows(model)]
    note = f"{result.machine}, {result.num_threads} threads, {result.dtype}, {result.when}"
    title = f"Decode throughput, prompts of {result.num_context_tokens} tokens"
    with figure(path, title, note, len(models)) as panels:
        for panel, model in zip(panels, models, strict=True):
            draw_model(panel, model)


def draw_model(panel: Axes, model: ModelResult) -> None:
    """One line an engine."""
    rows = decode_rows(model)
    counts = [row.num_prompts for row in rows]
    floors = [row.floor for row in rows if row.floor is not None]
    panel.plot(counts, floors, "--", color=GREY, label="floor of the machine")
    for name in RECIPES:
        points = [
            (row.num_prompts, row.engines[name].median) for row in rows if name in row.engines
        ]
        if points:
            width = 2.4 if name == "inlay" else 1.4
            panel.plot(*zip(*points, strict=True), "o-", label=name, color=COLOURS[name], lw=width)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(counts, [str(each) for each in counts])
    panel.set_xlabel("streams")
    panel.set_ylabel("tokens/s")
    panel.set_title(model.title, fontsize=9)
    panel.legend(fontsize=7)


def decode_rows(model: ModelResult) -> list[RowResult]:
    """The rows that are drawn."""
    return [row for row in model.rows if row.measure == "decode"]
