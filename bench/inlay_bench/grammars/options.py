"""What the grammar bench measures, from the command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inlay_bench.grammars.walkers import WALKERS
from inlay_bench.options import chosen, count

PARTS = ("schemas", "answers", "masks", "served")


@dataclass(frozen=True, kw_only=True)
class GrammarsOptions:
    """One run."""

    parts: tuple[str, ...] = PARTS
    """What is measured: backends over schemas; random answers; masks of a batch; answers
    of served models."""
    vocabulary: str = "131k"
    """`embedded` or `131k`."""
    sides: tuple[str, ...] = tuple(WALKERS)
    """Backends that take turns."""
    path: Path | None = None
    """A folder of more schemas, such as MaskBench's `data`."""
    num_cases: int | None = None
    """Of each collection, chosen at random; None for all."""
    num_generated: int = 300
    """Schemas of our own making."""
    num_answers: int = 3000
    """Random answers with each of three budgets."""
    num_served: int = 600
    """Answers of each served model with each of three budgets."""
    num_rounds: int = 5
    """Batches whose masks are filled."""
    side_minutes: float = 1.5
    """For each backend but ours in each collection; those that need more see fewer schemas."""
    folder: Path = Path(".bench")
    """Takes results, and keeps the large vocabulary."""


def parse_options(argv: Sequence[str] | None = None) -> GrammarsOptions:
    """The options of a command line; --quick only changes what is not given beside it."""
    options = make_parser().parse_args(argv)
    defaults = GrammarsOptions()
    if options.quick:
        defaults = replace(
            defaults,
            num_cases=30,
            num_generated=30,
            num_answers=100,
            num_served=50,
            side_minutes=0.3,
        )
    given = {name: value for name, value in vars(options).items() if value is not None}
    del given["quick"]
    return replace(defaults, **given)


def make_parser() -> argparse.ArgumentParser:
    """One flag a field; None where nothing is given."""
    parser = argparse.ArgumentParser(
        prog="python -m inlay_bench.grammars",
        description="How many JSON schemas are held, how exactly and how fast.",
    )
    add = parser.add_argument
    add("--parts", type=parts, metavar="P,…", help=f"some of {','.join(PARTS)} (all)")
    add("--vocabulary", choices=("embedded", "131k"), help="tokens that masks are made of (131k)")
    add("--sides", type=sides, metavar="S,…", help=f"some of {','.join(WALKERS)} (all)")
    add("--path", type=Path, metavar="FOLDER", help="more schemas, as MaskBench's data folder")
    add("--cases", dest="num_cases", type=count, metavar="N", help="of each collection (all)")
    add("--generated", dest="num_generated", type=count, metavar="N", help="own schemas (300)")
    add("--answers", dest="num_answers", type=count, metavar="N", help="random answers (3000)")
    add("--served", dest="num_served", type=count, metavar="N", help="answers over HTTP (600)")
    add("--rounds", dest="num_rounds", type=count, metavar="N", help="batches of rows (5)")
    add("--side-minutes", type=float, metavar="M", help="for each other backend (1.5)")
    add("--folder", type=Path, help="for results (.bench)")
    add("--quick", action="store_true", help="a first look: a few schemas and answers")
    return parser


def parts(text: str) -> tuple[str, ...]:
    """Parts of the bench, separated by commas."""
    return chosen(text, PARTS)


def sides(text: str) -> tuple[str, ...]:
    """Backends, separated by commas."""
    return chosen(text, tuple(WALKERS))
