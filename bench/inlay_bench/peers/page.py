"""The table for people."""

from collections.abc import Iterable, Sequence

from inlay_bench.peers.recipe import OURS, RECIPES
from inlay_bench.peers.results import ModelResult, PeersResult, RowResult


def write_page(result: PeersResult) -> str:
    """Everything that a run found out."""
    blocks = [write_conditions(result)]
    blocks += [write_model(model) for model in result.models]
    blocks.append(write_settings(result))
    return "\n\n".join(blocks)


def write_conditions(result: PeersResult) -> str:
    """Under what the figures were taken."""
    return (
        f"{result.machine}; {result.when}; {result.num_threads} threads on as many cores for"
        f" everybody; {result.dtype}, the same weights\n"
        f"this machine, measured in this run: reads {result.bytes_per_second / 1e9:.1f} GB/s,"
        f" multiplies {result.flops_per_second / 1e9:.0f} GFLOP/s\n"
        f"decode: while all streams run, behind prompts of {result.num_context_tokens} tokens;"
        f" medians of rounds taken in turn; {result.seconds / 60:.1f} minutes\n"
        "floor: every weight and the KV cache read once, or every multiplication at that speed"
    )


def write_model(model: ModelResult) -> str:
    """One model: its rows, its memory, and who is missing."""
    names = [name for name in RECIPES if any(name in row.engines for row in model.rows)]
    heading = ["", "unit", "floor", *names, *(f"{name} / best peer" for name in lead_names(names))]
    lines = [heading]
    lines += [row_cells(row, names) for row in model.rows]
    lines.append(memory_cells(model, names))
    notes = [
        f"{name}: first token equal to transformers' in {each.num_equal} of {each.num_compared}"
        for name, each in model.engines.items()
        if each.num_compared and name != "transformers"
    ]
    notes += [f"{name}: {each.failure}" for name, each in model.engines.items() if each.failure]
    title = f"{model.title} ({model.num_rounds} rounds)"
    return "\n".join([title, align(lines), *notes])


def lead_names(names: Iterable[str]) -> list[str]:
    """Ours among the engines."""
    return [name for name in names if name in OURS]


def row_cells(row: RowResult, names: Sequence[str]) -> list[str]:
    """One line of the table."""
    cells = [row.name, row.unit, "" if row.floor is None else number(row.floor)]
    for name in names:
        reached = row.engines.get(name)
        cells.append("–" if reached is None else number(reached.median))
    for name in lead_names(names):
        lead = row.lead(name)
        cells.append("–" if lead is None else f"{lead:.2f}")
    return cells


def memory_cells(model: ModelResult, names: Sequence[str]) -> list[str]:
    """Peak memory, as the last line."""
    peaks = [model.engines[name].peak_bytes / 1e6 for name in names]
    return ["peak memory", "MB", "", *map(number, peaks), *("" for _ in lead_names(names))]


def write_settings(result: PeersResult) -> str:
    """How each engine was set, and its version."""
    names = dict.fromkeys(name for model in result.models for name in model.engines)
    return "\n".join(
        f"{name} {result.versions.get(name, '')}: {RECIPES[name].settings}" for name in names
    )


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns under each other; the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
