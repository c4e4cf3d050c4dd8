"""Choosing the next token of every row of a batch from its logits.

In this order: watermark, repetition penalty, frequency penalty, grammar mask, temperature, top_k,
top_p, typical_p, choice. Reported log-probabilities are those of the model, before all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inlay_kernels import Kernels, Warping
from inlay_proto import generate_pb2 as pb
from inlay_shard.penalties import PenaltyState, penalise
from inlay_shard.randomness import uniforms
from inlay_shard.watermark import favour_green


@dataclass(frozen=True, kw_only=True)
class SamplingRow:
    """What the choice of one row's next token depends on, beside its logits."""

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


@dataclass(frozen=True, kw_only=True)
class RowMasks:
    """Grammar masks of some rows of a batch."""

    row_indices: Sequence[int]
    """Rows that have a mask, ascending and none twice."""
    packed: Tensor
    """int32 (len(row_indices), >= ceil(vocab_size / 32)): bit t % 32 of word t // 32 allows t."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The tokens chosen for a batch, on the sampler's device."""

    token_ids: Tensor
    """int64 (rows,)."""
    logprobs: Tensor
    """float32 (rows,): NaN where no token could be chosen, because the logits hold NaN or the
    mask allows nothing; the token of such a row is arbitrary."""
    top_token_ids: Tensor
    """int64 (rows, n): n is the largest `top_n_tokens` of the batch. Most likely first, the lower
    id first among equals; a row's own `top_n_tokens` entries are valid."""
    top_logprobs: Tensor
    """float32 (rows, n): log-probabilities of `top_token_ids`."""


class Sampler:
    """Chooses tokens; a row's choice is the same alone and in any batch."""

    def __init__(self, vocab_size: int, device: torch.device | str, kernels: Kernels) -> None:
        self._vocab_size = vocab_size
        self._device = torch.device(device)
        self._kernels = kernels

    def choose(
        self, logits: Tensor, rows: Sequence[SamplingRow], masks: RowMasks | None = None
    ) -> Choice:
        """Choose one token for each row.

        logits: (rows, vocab_size), any float type, on the sampler's device; not changed.
        """
        token_ids, normaliser = self._kernels.argmax_and_logsumexp(logits)
        logprobs = logits.gather(1, token_ids.unsqueeze(1)).squeeze(1).float() - normaliser
        steered = _steered(rows, masks)
        if steered:
            places = torch.tensor(steered, device=self._device)
            copied = logits[places].float()
            chosen, is_possible = self._choose_steered(copied, rows, steered, masks)
            token_ids[places] = chosen
            logprobs[places] = logits[places, chosen].float() - normaliser[places]
            logprobs[places[~is_possible]] = float("nan")
        top_token_ids, top_logprobs = _top_tokens(logits, normaliser, rows)
        return Choice(
            token_ids=token_ids,
            logprobs=logprobs,
            top_token_ids=top_token_ids,
            top_logprobs=top_logprobs,
        )

    def warm_up(self, dtype: torch.dtype) -> None:
        """Choose with every control on, so that what is compiled at its first use is ready.

        dtype: type of the logits to come. Takes seconds on a machine that never did it.
        """
        sampling = pb.Sampling(do_sample=True, top_k=1, top_p=0.5, typical_p=0.5)
        row = SamplingRow(sampling=sampling, prompt_ids=[0], output_ids=[])
        packed = torch.full((1, -(-self._vocab_size // 32)), -1, dtype=torch.int32)
        logits = torch.zeros((1, self._vocab_size), dtype=dtype, device=self._device)
        self.choose(logits, [row], RowMasks(row_indices=[0], packed=packed))

    def _choose_steered(
        self,
        logits: Tensor,
        all_rows: Sequence[SamplingRow],
        steered: list[int],
        masks: RowMasks | None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens of the rows named by `steered`, whose logits are consumed, and whether each had
        a token to choose."""
        rows = [all_rows[index] for index in steered]
        _apply_watermark(logits, rows)
        _apply_penalties(logits, rows)
        if masks is not None:
            self._apply_masks(logits, steered, masks)
        best = logits.max(-1)
        token_ids = best.indices
        sampled = [place for place, row in enumerate(rows) if row.sampling.do_sample]
        if sampled:
            token_ids[sampled] = self._draw(_at(logits, sampled), [rows[i] for i in sampled])
        return token_ids, best.values > float("-inf")

    def _apply_masks(self, logits: Tensor, steered: list[int], masks: RowMasks) -> None:
        place_of = {index: place for place, index in enumerate(steered)}
        places = [place_of[index] for index in masks.row_indices]
        masked = _at(logits, places)
        self._kernels.apply_mask(masked, masks.packed.to(self._device))
        _put(logits, places, masked)

    def _draw(self, logits: Tensor, rows: Sequence[SamplingRow]) -> Tensor:
        seeds = [row.sampling.seed for row in rows]
        positions = [len(row.output_ids) for row in rows]
        warping = _warping([row.sampling for row in rows], self._vocab_size)
        numbers = torch.from_numpy(uniforms(seeds, positions))
        return self._kernels.draw(logits, warping, numbers)


def _steered(rows: Sequence[SamplingRow], masks: RowMasks | None) -> list[int]:
    """Rows that need more than the most likely token, ascending."""
    masked = set(masks.row_indices) if masks is not None else set()
    return [index for index, row in enumerate(rows) if index in masked or _is_steered(row)]


def _is_steered(row: SamplingRow) -> bool:
    return row.sampling.do_sample or row.sampling.watermark or _is_penalised(row)


def _is_penalised(row: SamplingRow) -> bool:
    sampling = row.sampling
    return sampling.HasField("repetition_penalty") or sampling.HasField("frequency_penalty")


def _apply_watermark(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    places = [place for place, row in enumerate(rows) if row.sampling.watermark]
    if not places:
        return
    favoured = _at(logits, places)
    favour_green(favoured, [_last_token_id(rows[place]) for place in places])
    _put(logits, places, favoured)


def _last_token_id(row: SamplingRow) -> int:
    return row.output_ids[-1] if row.output_ids else row.prompt_ids[-1]


def _apply_penalties(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    places = [place for place, row in enumerate(rows) if _is_penalised(row)]
    if not places:
        return
    states = [_penalty_state(rows[place]) for place in places]
    controls = [rows[place].sampling for place in places]
    penalised = _at(logits, places)
    penalise(
        penalised,
        states,
        [_value(sampling, "repetition_penalty", 1.0) for sampling in controls],
        [_value(sampling, "frequency_penalty", 0.0) for sampling in controls],
    )
    _put(logits, places, penalised)


def _penalty_state(row: SamplingRow) -> PenaltyState:
    state = PenaltyState() if row.penalties is None else row.penalties
    state.read(row.prompt_ids, row.output_ids)
    return state


def _warping(controls: Sequence[pb.Sampling], vocab_size: int) -> Warping:
    temperatures = [_value(sampling, "temperature", 1.0) for sampling in controls]
    top_ks = [int(_value(sampling, "top_k", vocab_size)) for sampling in controls]
    top_ps = [_value(sampling, "top_p", 1.0) for sampling in controls]
    typical_ps = [_value(sampling, "typical_p", 1.0) for sampling in controls]
    return Warping(
        temperature=torch.tensor(temperatures, dtype=torch.float32),
        top_k=torch.tensor(top_ks, dtype=torch.int64),
        top_p=torch.tensor(top_ps, dtype=torch.float64),
        typical_p=torch.tensor(typical_ps, dtype=torch.float64),
    )


_Control = Literal[
    "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "frequency_penalty"
]


def _value(sampling: pb.Sampling, control: _Control, neutral: float) -> float:
    """The value of a control, or the one that changes nothing when it is off."""
    return float(getattr(sampling, control)) if sampling.HasField(control) else neutral


def _top_tokens(
    logits: Tensor, normaliser: Tensor, rows: Sequence[SamplingRow]
) -> tuple[Tensor, Tensor]:
    """Most likely tokens of each row and their log-probabilities: both (rows, n)."""
    num_top = max((row.top_n_tokens for row in rows), default=0)
    token_ids = torch.zeros((len(rows), num_top), dtype=torch.int64, device=logits.device)
    logprobs = torch.full((len(rows), num_top), float("-inf"), device=logits.device)
    for index, row in enumerate(rows):
        if row.top_n_tokens:
            top = _most_likely(logits[index], row.top_n_tokens)
            token_ids[index, : len(top)] = top
            logprobs[index, : len(top)] = logits[index, top].float() - normaliser[index]
    return token_ids, logprobs


def _most_likely(logits: Tensor, num_tokens: int) -> Tensor:
    """Ids of the highest logits, the lower id first among equals: (num_tokens,)."""
    smallest = logits.topk(num_tokens).values[-1]
    candidates = (logits >= smallest).nonzero().squeeze(1)
    order = logits[candidates].sort(descending=True, stable=True).indices
    return candidates[order[:num_tokens]]


def _at(logits: Tensor, places: list[int]) -> Tensor:
    """The rows at ascending `places`: all of `logits` itself, or a copy of some."""
    return logits if len(places) == len(logits) else logits[places]


def _put(logits: Tensor, places: list[int], changed: Tensor) -> None:
    """Put rows taken by `_at` and changed back to their places."""
    if changed is not logits:
        logits[places] = changed
