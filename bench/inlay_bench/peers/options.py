"""What the comparison measures, from the command line."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inlay_bench.options import chosen, count, counts
from inlay_bench.peers.models import MODELS
from inlay_bench.peers.recipe import RECIPES
from inlay_bench.peers.workload import Row

NUM_NEW_TOKENS = 48
"""Of a decode row: more than the steps that 32 prompts need at the smallest budget, 256."""
NUM_NEW_IMAGES = 4
SHARES = {"smol": 3, "qwen": 6, "smolvlm": 3}
"""How the time is divided among the models."""


@dataclass(frozen=True, kw_only=True)
class PeerOptions:
    """One run of the comparison."""

    engines: tuple[str, ...] = tuple(RECIPES)
    models: tuple[str, ...] = tuple(MODELS)
    stream_counts: tuple[int, ...] = (1, 8, 32)
    prefill_lengths: tuple[int, ...] = (512, 2048)
    num_context_tokens: int = 128
    """Prompt of each stream of a decode row."""
    minutes: float = 12.0
    """Loading and measuring; installing and converting come before and are done once."""
    max_rounds: int = 5
    num_threads: int = 2
    """Of each engine; the process and everything below it is held to as many cores."""
    dtype: str = "bfloat16"
    is_only_prepared: bool = False
    """Install and convert, and measure nothing."""
    folder: Path = Path(".bench")

    def rows(self, kind: str) -> list[Row]:
        """What is asked of a model of this kind."""
        if kind == "image":
            return [
                Row(measure="images", num_prompts=NUM_NEW_IMAGES),
                Row(measure="new image"),
                Row(measure="repeated image"),
            ]
        decode = [
            Row(
                measure="decode",
                num_prompts=num_streams,
                num_prompt_tokens=self.num_context_tokens,
                num_new_tokens=NUM_NEW_TOKENS,
            )
            for num_streams in self.stream_counts
        ]
        lengths = self.prefill_lengths
        return decode + [Row(measure="prefill", num_prompt_tokens=length) for length in lengths]

    @property
    def num_cache_tokens(self) -> int:
        """Room for the largest row, twice: an engine may keep old prompts for others to find."""
        rows = self.rows("text")
        return 2 * max(
            row.num_prompts * (row.num_prompt_tokens + row.num_new_tokens) for row in rows
        )

    def seconds(self, model: str) -> float:
        """The part of the time that is one model's."""
        shares = [SHARES[name] for name in self.models]
        return 60 * self.minutes * SHARES[model] / sum(shares)


def parse_options(argv: Sequence[str] | None = None) -> PeerOptions:
    """The options of a command line; --quick only changes what is not given beside it."""
    options = make_parser().parse_args(argv)
    defaults = PeerOptions(num_threads=min(2, len(os.sched_getaffinity(0))))
    if options.quick:
        defaults = replace(
            defaults,
            models=("smol",),
            stream_counts=(1, 8),
            prefill_lengths=(512,),
            minutes=2.0,
            max_rounds=1,
        )
    given = {name: value for name, value in vars(options).items() if value is not None}
    del given["quick"]
    return replace(defaults, **given)


def make_parser() -> argparse.ArgumentParser:
    """One flag a field; None where nothing is given."""
    parser = argparse.ArgumentParser(
        prog="python -m inlay_bench.peers",
        description="Measures inlay and its peers side by side, each in an environment of its own.",
    )
    add = parser.add_argument
    add("--engines", type=engines, metavar="E,…", help=f"of {','.join(RECIPES)} (all)")
    add("--models", type=models, metavar="M,…", help=f"of {','.join(MODELS)} (all)")
    add("--streams", dest="stream_counts", type=counts, metavar="N,…", help="(1,8,32)")
    add("--prefill", dest="prefill_lengths", type=counts, metavar="N,…", help="(512,2048)")
    add("--context", dest="num_context_tokens", type=count, metavar="N", help="tokens (128)")
    add("--minutes", type=float, metavar="M", help="for loading and measuring (12)")
    add("--rounds", dest="max_rounds", type=count, metavar="N", help="at most (5)")
    add("--threads", dest="num_threads", type=count, metavar="N", help="and cores, of each (2)")
    add("--folder", type=Path, help="environments, models, logs, results (.bench)")
    add(
        "--prepare",
        dest="is_only_prepared",
        action="store_true",
        default=None,
        help="install and convert only",
    )
    add("--quick", action="store_true", help="a first look: smol, few rows, one round")
    return parser


def engines(text: str) -> tuple[str, ...]:
    """Names of engines, separated by commas."""
    return chosen(text, tuple(RECIPES))


def models(text: str) -> tuple[str, ...]:
    """Names of models, separated by commas."""
    return chosen(text, tuple(MODELS))
