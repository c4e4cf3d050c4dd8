"""The outcome of a run: a page for people, and JSON for comparisons with later runs."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from inlay_bench.figures import CaseFigures
from inlay_bench.floor import MachineSpeed
from inlay_bench.options import BenchOptions
from inlay_bench.table import write_table

CROWD = 8  # streams from which on no ratio may be below 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a run found out."""

    options: BenchOptions
    speeds: dict[str, MachineSpeed]
    """By type."""
    num_weights: int
    """That one decode step reads."""
    figures: tuple[CaseFigures, ...]

    @property
    def has_equal_texts(self) -> bool:
        """False when an answer in float32 differs between the sides."""
        exact = [each for each in self.figures if each.case.dtype == "float32"]
        return all(each.num_equal == each.num_compared for each in exact)

    def write(self) -> str:
        """The page."""
        lines = [
            *self._conditions(),
            *(self._write_speed(dtype, speed) for dtype, speed in self.speeds.items()),
            "",
            write_table(self.figures),
            "",
            *EXPLANATION,
            *(self._write_equality(dtype) for dtype in self.speeds),
            write_verdict(self.figures),
        ]
        return "\n".join(lines)

    def save(self, folder: Path) -> Path:
        """Writes the figures as JSON; the file."""
        path = folder / time.strftime("bench-%Y%m%d-%H%M%S.json")
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self, enc_hook=str)))
        return path

    def _conditions(self) -> list[str]:
        options = self.options
        return [
            f"inlay over HTTP against transformers {version('transformers')} generate, torch"
            f" {version('torch')}, {platform.machine()}",
            f"threads: {options.num_threads} on either side; prompts of"
            f" {options.num_prompt_tokens} tokens, answers of {options.num_new_tokens}, greedy;"
            f" medians of {options.num_rounds} rounds, taken in turn",
        ]

    def _write_speed(self, dtype: str, speed: MachineSpeed) -> str:
        return (
            f"this machine, {dtype}: reads {speed.bytes_per_second / 1e9:.1f} GB/s, multiplies"
            f" {speed.flops_per_second / 1e9:.0f} GFLOP/s; a decode step takes"
            f" {self.num_weights / 1e6:.1f} million weights"
        )

    def _write_equality(self, dtype: str) -> str:
        group = [each for each in self.figures if each.case.dtype == dtype]
        num_equal = sum(each.num_equal for each in group)
        num_compared = sum(each.num_compared for each in group)
        words = f"{dtype}: {num_equal} of {num_compared} answers equal generate's, token for token"
        if dtype == "float32":
            return words + (" and letter for letter" if num_equal == num_compared else ": WRONG")
        return words + " (rounding to this type differs with the shape of a batch)"


EXPLANATION = (
    "tokens/s: generated tokens over the time from handing over the prompts to the last token.",
    "first token, a token: medians of the streams. Ratios: above 1 inlay is better; the median",
    "of the rounds (lowest–highest). generate runs its processor within its time, and has the",
    "cores to itself; inlay shares them with its router and the load client (CPU time below).",
    "floor: the least time of a decode step, for reading its weights and for multiplying them.",
)


def write_verdict(figures: Sequence[CaseFigures]) -> str:
    """The ratios below 1 with `CROWD` streams or more, and the cost of the load client."""
    slow = [
        f"{each.case} ({pair.ratio.median:.2f} in {quantity})"
        for each in figures
        if each.case.num_streams >= CROWD
        for quantity, pair in (
            ("tokens/s", each.tokens_per_second),
            ("first token", each.first_token_milliseconds),
        )
        if pair.ratio.median < 1
    ]
    client = max(each.client_share for each in figures)
    words = f"below 1 from {CROWD} streams on: {'; '.join(slow) or 'none'}"
    return f"the load client took at most {client:.1%} of a core\n{words}"
