"""Writes the figures as a table for people."""

from collections.abc import Callable, Sequence
from itertools import groupby

from inlay_bench.figures import CaseFigures, Pair

HEADINGS = (
    ("", "", "tokens/s", "", "", "first token, ms", "", "", "a token, ms", "", "", "floor, ms", ""),
    ("prompt", "streams", *3 * ("inlay", "generate", "ratio"), "read", "multiply"),
)


def write_table(figures: Sequence[CaseFigures]) -> str:
    """One line a case, a block a type."""
    lines: list[tuple[str, ...]] = [*HEADINGS]
    for dtype, group in groupby(figures, key=lambda each: each.case.dtype):
        lines.append((dtype, *(len(HEADINGS[0]) - 1) * ("",)))
        lines.extend(cells(each) for each in group)
    widths = [max(map(len, column)) for column in zip(*lines[1:], strict=True)]
    return "\n".join(write_line(line, widths) for line in lines)


def write_line(line: Sequence[str], widths: Sequence[int]) -> str:
    """One line; a cell may reach into empty cells to its right."""
    text = ""
    position = 0
    for index, (cell, width) in enumerate(zip(line, widths, strict=True)):
        is_spanning = len(cell) > width
        aligned = cell.ljust(width) if index == 0 or is_spanning else cell.rjust(width)
        text = text.ljust(position) + aligned if aligned.strip() else text
        position += width + 2
    return text.rstrip()


def cells(figures: CaseFigures) -> tuple[str, ...]:
    """The line of one case."""
    return (
        figures.case.kind,
        str(figures.case.num_streams),
        *pair_cells(figures.tokens_per_second, "{:.1f}".format),
        *pair_cells(figures.first_token_milliseconds, "{:.0f}".format),
        *pair_cells(figures.token_milliseconds, "{:.1f}".format),
        f"{figures.read_floor_milliseconds:.1f}",
        f"{figures.multiply_floor_milliseconds:.1f}",
    )


def pair_cells(pair: Pair, write: Callable[[float], str]) -> tuple[str, str, str]:
    """Both medians, and the ratio with its lowest and highest."""
    ratio = f"{pair.ratio.median:.2f} ({pair.ratio.low:.2f}–{pair.ratio.high:.2f})"
    return write(pair.inlay.median), write(pair.generate.median), ratio
