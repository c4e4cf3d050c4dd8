"""What becomes of schemas in each backend, and what compiling and masks cost there."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from inlay_bench.grammars.results import CollectionResult, GrammarsResult
from inlay_bench.grammars.tally import SHARES, SideFigures
from inlay_bench.plots.style import GREY, figure

SIDE_COLOURS = {
    "inlay": "#b3123f",
    "llguidance": "#c9a227",
    "xgrammar": "#2b6cb0",
    "outlines_core": "#2f855a",
}


def draw(result: GrammarsResult, path: Path) -> None:
    """Shares of the last collection, which is the one given by path if there is one."""
    collection = result.collections[-1]
    note = f"{result.machine}, {result.vocab_size:,} tokens, {result.when}"
    title = f"{collection.num_schemas} schemas of {collection.name}"
    with figure(path, title, note, num_panels=3) as panels:
        draw_outcomes(panels[0], collection)
        draw_curves(panels[1], collection.sides, "compile_ms", "ms to compile, first mask included")
        draw_curves(panels[2], collection.sides, "mask_us", "µs of a mask")


def draw_outcomes(panel: Axes, collection: CollectionResult) -> None:
    """Bars of what passed, what was told wrong, and what was not held."""
    names = [side.side for side in collection.sides]
    starts = [0.0] * len(names)
    for label, colour, share in (
        ("every instance right", "#2f855a", passing),
        ("refuses something valid", "#c9a227", refusing),
        ("accepts something invalid", "#b3123f", accepting),
        ("refused, or over a limit", GREY, not_held),
    ):
        widths = [100 * share(side) for side in collection.sides]
        panel.barh(names, widths, left=starts, label=label, color=colour)
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    panel.invert_yaxis()
    panel.set_xlabel("% of schemas")
    panel.legend(fontsize=7, loc="lower left")


def passing(side: SideFigures) -> float:
    """Share of schemas held and told right."""
    return side.num_passing / max(1, side.num_schemas)


def accepting(side: SideFigures) -> float:
    """Share of schemas that let something invalid pass."""
    return side.num_under / max(1, side.num_schemas)


def not_held(side: SideFigures) -> float:
    """Share of schemas that were not held."""
    return 1 - side.outcomes.get("held", 0) / max(1, side.num_schemas)


def refusing(side: SideFigures) -> float:
    """Share of schemas that refuse something valid, and let nothing invalid pass."""
    return max(0.0, 1 - passing(side) - accepting(side) - not_held(side))


def draw_curves(panel: Axes, sides: Sequence[SideFigures], name: str, label: str) -> None:
    """The share of values at least so large, on a scale that shows the tail."""
    for side in sides:
        values: list[float] = getattr(side, name)
        if values:
            points = [
                (value, 1 - share) for share, value in zip(SHARES, values, strict=True) if share < 1
            ]
            xs, ys = zip(*points, strict=True)
            panel.plot(xs, ys, label=side.side, color=SIDE_COLOURS.get(side.side, GREY))
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel(label)
    panel.set_ylabel("share at least as large")
    panel.legend(fontsize=7)
