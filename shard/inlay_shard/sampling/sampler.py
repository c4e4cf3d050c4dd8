"""Choosing the next token of every row of a batch from its logits.

In this order: watermark, penalties (repetition, frequency, presence), logit bias, exclusions,
grammar mask, min_p, temperature, top_k, top_p, typical_p, choice. Reported log-probabilities are
those of the model, before all of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inlay_kernels import Kernels, Likeliest
from inlay_proto import generate_pb2 as pb
from inlay_shard.sampling.controls import Draws, SamplingRow
from inlay_shard.sampling.exclusions import forbid, leave_out_unlikely
from inlay_shard.sampling.penalties import PenaltyState, add_biases, penalise
from inlay_shard.sampling.randomness import uniforms
from inlay_shard.sampling.watermark import favour_green


@dataclass(frozen=True, kw_only=True)
class RowMasks:
    """Grammar masks of some rows of a batch."""

    row_indices: Sequence[int]
    """Rows that have a mask, ascending and none twice."""
    packed: Tensor
    """int32 (len(row_indices), >= ceil(vocab_size / 32)): bit t % 32 of word t // 32 allows t."""

    def of(self, rows: Sequence[int]) -> Tensor:
        """The masks of some of the rows that have one, ascending."""
        if len(rows) == len(self.row_indices):
            return self.packed
        wanted = set(rows)
        return self.packed[[place for place, row in enumerate(self.row_indices) if row in wanted]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The tokens chosen for a batch, on the sampler's device."""

    token_ids: Tensor
    """int64 (rows,)."""
    logprobs: Tensor
    """float32 (rows,): NaN where no token could be chosen, because the logits hold NaN or the
    mask allows nothing; the token of such a row is arbitrary."""
    top_token_ids: Tensor | None = None
    """int64 (rows, n): n is the largest `top_n_tokens` of the batch. Most likely first, the lower
    id first among equals; a row's own `top_n_tokens` entries are valid. None if n is 0."""
    top_logprobs: Tensor | None = None
    """float32 (rows, n): log-probabilities of `top_token_ids`."""


class Sampler:
    """Chooses tokens; a row's choice is the same alone and in any batch."""

    def __init__(self, vocab_size: int, device: torch.device | str, kernels: Kernels) -> None:
        self._vocab_size = vocab_size
        self._device = torch.device(device)
        self._kernels = kernels
        self._draws = Draws(vocab_size)

    def choose(
        self,
        logits: Tensor,
        rows: Sequence[SamplingRow],
        masks: RowMasks | None = None,
        likeliest: Likeliest | None = None,
    ) -> Choice:
        """Choose one token for each row.

        logits: (rows, vocab_size), any float type, on the sampler's device; not changed.
        likeliest: their most likely tokens, if they are known already; consumed.
        """
        chosen = likeliest or self._kernels.most_likely(logits)
        steered = [place for place, row in enumerate(rows) if row.is_steered]
        if masks is not None:
            self._keep_allowed(chosen, logits, masks, set(steered))
        if steered:
            token_ids, is_possible = self._steer(logits, rows, steered, masks)
            logprobs = logits[steered, token_ids].float() - chosen.normalisers[steered]
            chosen.token_ids[steered] = token_ids
            chosen.logprobs[steered] = logprobs.masked_fill_(~is_possible, float("nan"))
        return _with_top_tokens(chosen.token_ids, chosen.logprobs, logits, chosen.normalisers, rows)

    def rate(
        self,
        logits: Tensor,
        token_ids: Sequence[int],
        rows: Sequence[SamplingRow],
        likeliest: Likeliest | None = None,
    ) -> Choice:
        """What the model makes of tokens that are chosen already, one for each row of `logits`.

        likeliest: their most likely tokens, if they are known already.
        """
        normalisers = (likeliest or self._kernels.most_likely(logits)).normalisers
        chosen = torch.from_numpy(np.array(token_ids)).to(self._device)
        logprobs = logits.gather(1, chosen.unsqueeze(1)).squeeze(1).float() - normalisers
        return _with_top_tokens(chosen, logprobs, logits, normalisers, rows)

    def warm_up(self, dtype: torch.dtype) -> None:
        """Choose with every control on, so that what is compiled at its first use is ready.

        dtype: type of the logits to come. Takes seconds on a machine that never did it.
        """
        packed = torch.full((2, -(-self._vocab_size // 32)), -1, dtype=torch.int32)
        logits = torch.zeros((2, self._vocab_size), dtype=dtype, device=self._device)
        drawn = pb.Sampling(do_sample=True, top_k=1, top_p=0.5, typical_p=0.5)
        rows = [
            SamplingRow(sampling=sampling, prompt_ids=[0], output_ids=[])
            for sampling in (drawn, pb.Sampling())
        ]
        self.choose(logits, rows, RowMasks(row_indices=[0, 1], packed=packed))

    def _keep_allowed(
        self, chosen: Likeliest, logits: Tensor, masks: RowMasks, steered: set[int]
    ) -> None:
        """Of the rows that have a mask and are not steered."""
        places = [place for place in masks.row_indices if place not in steered]
        if places:
            packed = masks.of(places).to(self._device)
            self._kernels.keep_allowed(chosen, logits, packed, places)

    def _steer(
        self,
        logits: Tensor,
        all_rows: Sequence[SamplingRow],
        places: list[int],
        masks: RowMasks | None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens of the rows at `places`, and whether each had a token to choose."""
        rows = [all_rows[place] for place in places]
        steered = logits[places].float()
        _change(steered, rows, where=lambda row: row.has_watermark, by=_favour_green)
        _change(steered, rows, where=lambda row: row.is_penalised, by=_penalise)
        _change(steered, rows, where=lambda row: row.is_biased, by=_add_biases)
        _change(steered, rows, where=lambda row: row.has_exclusions, by=forbid)
        if masks is not None:
            self._apply_masks(steered, places, masks)
        best = steered.max(-1)
        token_ids = best.indices
        drawn = [place for place, row in enumerate(rows) if row.is_drawn]
        if drawn:
            token_ids[drawn] = self._draw(_at(steered, drawn), [rows[place] for place in drawn])
        return token_ids, best.values > float("-inf")

    def _apply_masks(self, logits: Tensor, steered: list[int], masks: RowMasks) -> None:
        place_of = {index: place for place, index in enumerate(steered)}
        masked = [index for index in masks.row_indices if index in place_of]
        if not masked:
            return
        places = [place_of[index] for index in masked]
        rows = _at(logits, places)
        self._kernels.apply_mask(rows, masks.of(masked).to(self._device))
        _put(logits, places, rows)

    def _draw(self, logits: Tensor, rows: list[SamplingRow]) -> Tensor:
        _change(logits, rows, where=lambda row: row.leaves_out_unlikely, by=leave_out_unlikely)
        warping, seeds = self._draws.of(rows)
        numbers = uniforms(seeds, [len(row.output_ids) for row in rows])
        return self._kernels.draw(logits, warping, torch.from_numpy(numbers))


def _with_top_tokens(
    token_ids: Tensor,
    logprobs: Tensor,
    logits: Tensor,
    normaliser: Tensor,
    rows: Sequence[SamplingRow],
) -> Choice:
    if not any(row.top_n_tokens for row in rows):
        return Choice(token_ids=token_ids, logprobs=logprobs)
    top_token_ids, top_logprobs = _top_tokens(logits, normaliser, rows)
    return Choice(
        token_ids=token_ids,
        logprobs=logprobs,
        top_token_ids=top_token_ids,
        top_logprobs=top_logprobs,
    )


def logprob_of(logits: Tensor, token_id: int) -> float:
    """Log-probability of one token under the model: logits (vocab_size,)."""
    return float(logits[token_id].float() - logits.float().logsumexp(-1))


def _change(
    logits: Tensor,
    rows: Sequence[SamplingRow],
    *,
    where: Callable[[SamplingRow], bool],
    by: Callable[[Tensor, list[SamplingRow]], None],
) -> None:
    """Let the logits of some rows be changed, in place."""
    places = [place for place, row in enumerate(rows) if where(row)]
    if places:
        changed = _at(logits, places)
        by(changed, [rows[place] for place in places])
        _put(logits, places, changed)


def _favour_green(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    favour_green(logits, [row.last_token_id for row in rows])


def _penalise(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    penalise(
        logits,
        [_penalty_state(row) for row in rows],
        [row.value("repetition_penalty", 1.0) for row in rows],
        [row.value("frequency_penalty", 0.0) for row in rows],
        [row.value("presence_penalty", 0.0) for row in rows],
    )


def _add_biases(logits: Tensor, rows: Sequence[SamplingRow]) -> None:
    add_biases(
        logits,
        [row.sampling.biased_token_ids for row in rows],
        [row.sampling.token_biases for row in rows],
    )


def _penalty_state(row: SamplingRow) -> PenaltyState:
    state = PenaltyState() if row.penalties is None else row.penalties
    state.read(row.prompt_ids, row.output_ids)
    return state


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
