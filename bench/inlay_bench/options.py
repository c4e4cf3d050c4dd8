"""What the bench measures, from the command line."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inlay_bench.prompts import Kind

DESCRIPTION = """\
Measures inlay through HTTP against transformers' generate, side by side: for each type, kind of
prompt and number of streams, rounds of ours and theirs in turn, on a model made for the purpose."""

DTYPE_BYTES = {"bfloat16": 2, "float32": 4}


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """One run of the bench."""

    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    """bfloat16 as models are served; float32 also holds the answers against each other."""
    kinds: tuple[Kind, ...] = ("text", "image")
    """Prompts of words alone, and of a picture and words."""
    stream_counts: tuple[int, ...] = (1, 8, 32)
    """Streams at a time; the batch size of `generate`."""
    num_prompt_tokens: int = 128
    """Of every prompt, its picture included."""
    num_new_tokens: int = 64
    """Of every answer; at least 2, as the time between two tokens is measured."""
    num_rounds: int = 3
    """Measured rounds of each case; one more comes before, unmeasured."""
    num_threads: int = 1
    """Threads that compute, on either side; the router and the load client come on top."""
    folder: Path = Path(".bench")
    """Takes results and logs."""
    model_cache: Path = Path(".bench")
    """Keeps the model from one run to the next."""


def parse_options(argv: Sequence[str] | None = None) -> BenchOptions:
    """The options of a command line; --quick only changes what is not given beside it."""
    options = make_parser().parse_args(argv)
    defaults = BenchOptions(num_threads=len(os.sched_getaffinity(0)))
    if options.quick:
        defaults = replace(
            defaults,
            dtypes=("bfloat16",),
            kinds=("text",),
            num_new_tokens=16,
            num_rounds=1,
        )
    given = {name: value for name, value in vars(options).items() if value is not None}
    del given["quick"]
    return replace(defaults, **given)


def make_parser() -> argparse.ArgumentParser:
    """One flag a field; None where nothing is given."""
    parser = argparse.ArgumentParser(
        prog="python -m inlay_bench",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--dtype", dest="dtypes", type=dtypes, metavar="D,…", help="bfloat16,float32 (both)")
    add("--kinds", type=kinds, metavar="K,…", help="text,image (both)")
    add("--streams", dest="stream_counts", type=counts, metavar="N,…", help="at a time (1,8,32)")
    add("--prompt-tokens", dest="num_prompt_tokens", type=count, metavar="N", help="(128)")
    add("--new-tokens", dest="num_new_tokens", type=two_or_more, metavar="N", help="(64)")
    add("--rounds", dest="num_rounds", type=count, metavar="N", help="measured rounds a case (3)")
    add("--threads", dest="num_threads", type=count, metavar="N", help="(cores of this process)")
    add("--folder", type=Path, help="for results and logs (.bench)")
    add("--model-cache", type=Path, metavar="DIR", help="where the model is kept (.bench)")
    add("--quick", action="store_true", help="a first look: bfloat16, text, 16 tokens, one round")
    return parser


def dtypes(text: str) -> tuple[str, ...]:
    """Types of weights, separated by commas."""
    return chosen(text, tuple(DTYPE_BYTES))


def kinds(text: str) -> tuple[str, ...]:
    """Kinds of prompts, separated by commas."""
    return chosen(text, ("text", "image"))


def chosen(text: str, choices: Sequence[str]) -> tuple[str, ...]:
    """Some of `choices`, separated by commas."""
    words = tuple(text.split(","))
    for word in words:
        if word not in choices:
            raise argparse.ArgumentTypeError(f"is one of {', '.join(choices)}. Given: {word}")
    return words


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1, separated by commas."""
    return tuple(map(count, text.split(",")))


def count(text: str) -> int:
    """A whole number of at least 1."""
    return whole_number(text, smallest=1)


def two_or_more(text: str) -> int:
    """A whole number of at least 2."""
    return whole_number(text, smallest=2)


def whole_number(text: str, smallest: int) -> int:
    """A number written in digits, not below `smallest`."""
    if not text.isdecimal() or int(text) < smallest:
        raise argparse.ArgumentTypeError(f"is a whole number of at least {smallest}. Given: {text}")
    return int(text)
