"""Rank 0's part of a step: a token for each row that chooses, and what follows from it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from inlay_kernels import Likeliest
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.sampling.sampler import Choice, RowMasks, Sampler, logprob_of
from inlay_shard.steps.batch import Row
from inlay_shard.steps.forcing import Forcing
from inlay_shard.steps.judgement import Judgement, judge
from inlay_shard.steps.outcome import IMPOSSIBLE, Fate, Outcome


class Logits(NamedTuple):
    """What the model makes of the rows of a step that choose."""

    chosen: Tensor
    """(rows, vocab_size): where each chooses its token."""
    forced: Tensor
    """(n, vocab_size): where the forced tokens of all rows stand, row by row."""
    likeliest: Likeliest | None = None
    """Of `chosen`, where the forward pass has found them."""
    likeliest_forced: Likeliest | None = None
    """Of `forced`, likewise."""


class Draft(NamedTuple):
    """One row before it is judged."""

    row: Row
    place: int
    """Among the rows that choose."""
    token_id: int
    logprob: float
    forced_logprobs: list[float]
    reason: str | None
    """Why the row could not be masked; None if it could."""


class Chooser:
    """Chooses tokens, judges and reports them."""

    def __init__(self, sampler: Sampler, *, eos_token_ids: Sequence[int], block_size: int) -> None:
        self._sampler = sampler
        self._eos_token_ids = tuple(eos_token_ids)
        self._forcing = Forcing(block_size=block_size, eos_token_ids=eos_token_ids)

    def choose(
        self,
        rows: Sequence[Row],
        logits: Logits,
        masks: RowMasks | None,
        reasons: Mapping[int, str],
        outcome: Outcome,
    ) -> list[Judgement]:
        """The judgement of each row; what comes of it goes into the outcome.

        reasons: why rows, by their places, could not be masked.
        """
        for place, row in enumerate(rows):
            if row.sequence.wants_logits:
                outcome.add_logits(row.sequence.sequence_id, logits.chosen[place])
        with outcome.timed("sample"):
            settings = [row.sequence.sampling for row in rows]
            choice = self._sampler.choose(logits.chosen, settings, masks, logits.likeliest)
            forced = self._rate_forced(rows, logits)
            drafts = _drafts(rows, choice, forced, reasons)
        with outcome.timed("deliver"):
            self._forcing.begin(len(rows))
            judgements = [self._judge(draft, logits.chosen, outcome) for draft in drafts]
            _report_top_tokens(rows, judgements, choice, forced, outcome)
        return judgements

    def _rate_forced(self, rows: Sequence[Row], logits: Logits) -> Choice | None:
        """The forced tokens of all rows, row by row, as the model sees them; None if there are
        none."""
        token_ids = [token_id for row in rows for token_id in row.forced_ids]
        if not token_ids:
            return None
        settings = [row.sequence.sampling for row in rows for _ in row.forced_ids]
        return self._sampler.rate(logits.forced, token_ids, settings, logits.likeliest_forced)

    def _judge(self, draft: Draft, logits: Tensor, outcome: Outcome) -> Judgement:
        """logits: (rows, vocab_size)."""
        row = draft.row
        sequence_id = row.sequence.sequence_id
        try:
            judgement = self._judgement(draft)
        except RowFailed as failure:
            outcome.fail(sequence_id, failure)
            return Judgement((), Fate.FAILS)
        logprob = draft.logprob
        if judgement.is_changed:
            outcome.shorten(sequence_id)
            logprob = logprob_of(logits[draft.place], judgement.token_ids[0])
        token_ids = (*row.forced_ids, *judgement.token_ids)
        logprobs = (*draft.forced_logprobs, logprob, 0.0)[: len(token_ids)]
        outcome.produce(sequence_id, token_ids, logprobs, num_forced=len(draft.forced_logprobs))
        if judgement.fate is not Fate.GOES_ON:
            outcome.end(sequence_id, judgement.fate)
        return judgement

    def _judgement(self, draft: Draft) -> Judgement:
        if draft.reason is not None:
            raise RowFailed(pb.RowFailure.KIND_INVALID, draft.reason)
        if any(map(math.isnan, draft.forced_logprobs)):
            raise RowFailed(pb.RowFailure.KIND_INTERNAL, "the model made nothing of its tokens")
        sequence = draft.row.sequence
        judgement = judge(sequence, draft.token_id, draft.logprob, self._eos_token_ids)
        return self._forcing.extend(judgement, draft.row)


def _drafts(
    rows: Sequence[Row], choice: Choice, forced: Choice | None, reasons: Mapping[int, str]
) -> list[Draft]:
    chosen = zip(rows, choice.token_ids.tolist(), choice.logprobs.tolist(), strict=True)
    forced_logprobs = [] if forced is None else forced.logprobs.tolist()
    drafts, start = [], 0
    for place, (row, token_id, logprob) in enumerate(chosen):
        stop = start + row.sequence.num_forced
        own = forced_logprobs[start:stop]
        drafts.append(Draft(row, place, token_id, logprob, own, reasons.get(place)))
        start = stop
    return drafts


def _report_top_tokens(
    rows: Sequence[Row],
    judgements: Sequence[Judgement],
    choice: Choice,
    forced: Choice | None,
    outcome: Outcome,
) -> None:
    if choice.top_token_ids is None:
        return
    start = 0
    for place, (row, judgement) in enumerate(zip(rows, judgements, strict=True)):
        stop = start + row.sequence.num_forced
        num_top = row.sequence.sampling.top_n_tokens
        if num_top and judgement.token_ids:
            token_ids, logprobs = _top(forced, slice(start, stop), num_top)
            chosen_ids, chosen_logprobs = _top(choice, slice(place, place + 1), num_top)
            token_ids += chosen_ids
            logprobs += chosen_logprobs
            for end_id in judgement.token_ids[1:]:
                others = [token_id for token_id in chosen_ids if token_id != end_id]
                token_ids += [end_id, *others[: num_top - 1]]
                logprobs += [0.0] + [IMPOSSIBLE] * (num_top - 1)
            outcome.add_top_tokens(row.sequence.sequence_id, token_ids, logprobs)
        start = stop


def _top(choice: Choice | None, places: slice, num_top: int) -> tuple[list[int], list[float]]:
    """The likeliest tokens at some places, one place after the other, and what they are worth."""
    if choice is None or places.start == places.stop:
        return [], []
    assert choice.top_token_ids is not None and choice.top_logprobs is not None
    token_ids: list[int] = choice.top_token_ids[places, :num_top].flatten().tolist()
    return token_ids, choice.top_logprobs[places, :num_top].flatten().tolist()
