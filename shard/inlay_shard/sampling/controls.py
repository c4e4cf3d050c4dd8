"""How one sequence's tokens are chosen, as the sampler reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from inlay_kernels import Warping
from inlay_proto import generate_pb2 as pb
from inlay_shard.sampling.penalties import PenaltyState

_PENALTIES: Final = ("repetition_penalty", "frequency_penalty", "presence_penalty")

Control: TypeAlias = Literal[
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplingRow:
    """What the choice of one row's next token depends on, beside its logits.

    A sequence has one for its whole life, so what follows from the controls is found once.
    """

    sampling: pb.Sampling
    """The controls, checked by the router."""
    prompt_ids: Sequence[int]
    """Tokens of the prompt."""
    output_ids: Sequence[int]
    """Tokens of the answer so far."""
    top_n_tokens: int = 0
    """How many of the most likely tokens to report."""
    penalties: PenaltyState | None = None
    """Owned by the sequence and the same in each step; unset, it is built anew each time."""

    @cached_property
    def is_drawn(self) -> bool:
        """Whether the token is drawn rather than the most likely."""
        return self.sampling.do_sample

    @cached_property
    def has_watermark(self) -> bool:
        """Whether green tokens are favoured."""
        return self.sampling.watermark

    @cached_property
    def is_penalised(self) -> bool:
        """Whether tokens that stand in the text are penalised."""
        return any(self.sampling.HasField(control) for control in _PENALTIES)

    @cached_property
    def is_biased(self) -> bool:
        """Whether logits of named tokens are changed."""
        return len(self.sampling.biased_token_ids) > 0

    @cached_property
    def has_exclusions(self) -> bool:
        """Whether some tokens may not be chosen at some places of the answer."""
        sampling = self.sampling
        return sampling.min_tokens > 0 or any((sampling.bad_runs, sampling.allowed_token_ids))

    @cached_property
    def leaves_out_unlikely(self) -> bool:
        """Whether it is drawn from tokens that are likely beside the likeliest."""
        return self.is_drawn and self.sampling.HasField("min_p")

    @cached_property
    def is_steered(self) -> bool:
        """Whether the row needs more than the most likely of its allowed tokens."""
        is_changed = self.has_watermark or self.is_penalised or self.is_biased
        return self.is_drawn or is_changed or self.has_exclusions

    @property
    def last_token_id(self) -> int:
        """The token before the one to choose."""
        return self.output_ids[-1] if self.output_ids else self.prompt_ids[-1]

    def value(self, control: Control, neutral: float) -> float:
        """The value of a control, or the one that changes nothing when it is off."""
        sampling = self.sampling
        return float(getattr(sampling, control)) if sampling.HasField(control) else neutral


class Draws:
    """The warpers and seeds of rows that are drawn, kept while the rows are the same."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._rows: list[SamplingRow] = []
        self._warping: Warping
        self._seeds: NDArray[np.uint64]

    def of(self, rows: list[SamplingRow]) -> tuple[Warping, NDArray[np.uint64]]:
        """Warpers and seeds, one of each for each row."""
        if rows != self._rows:  # by identity: rows are not compared by value
            self._rows = rows
            self._warping = _warping(rows, self._vocab_size)
            self._seeds = np.array([row.sampling.seed for row in rows], np.uint64)
        return self._warping, self._seeds


def _warping(rows: Sequence[SamplingRow], vocab_size: int) -> Warping:
    def values(control: Control, neutral: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([row.value(control, neutral) for row in rows], dtype=dtype)

    return Warping(
        temperature=values("temperature", 1.0, torch.float32),
        top_k=values("top_k", vocab_size, torch.int64),
        top_p=values("top_p", 1.0, torch.float64),
        typical_p=values("typical_p", 1.0, torch.float64),
    )
