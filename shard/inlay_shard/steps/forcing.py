"""Tokens that a grammar forces behind a chosen one: taken at once, and computed by the next row."""

from collections.abc import Sequence
from dataclasses import replace

from inlay_shard.proofs.trial import NUM_CHOOSING
from inlay_shard.steps.batch import Row
from inlay_shard.steps.judgement import Judgement, take
from inlay_shard.steps.outcome import Fate
from inlay_shard.steps.sequence import RunningSequence

_NUM_ALONE = 8
"""Forced tokens of a step with few rows, which they hardly make longer."""


class Forcing:
    """Gives the rows of one step after the other what is forced behind their choices.

    A mask would allow these tokens alone, so answers are the same with and without: only where
    they are taken differs, and that may depend on neighbours and on blocks.
    """

    def __init__(self, *, block_size: int, eos_token_ids: Sequence[int]) -> None:
        self._block_size = block_size
        self._eos_token_ids = frozenset(eos_token_ids)
        self._num_free = 0

    def begin(self, num_rows: int) -> None:
        """The rows of a step come now, of which `num_rows` choose.

        The next one may compute as many forced tokens, so that it takes at most twice as long for
        those whose tokens are not forced; and no more logits than the largest step that was tried.
        """
        self._num_free = max(0, min(max(num_rows, _NUM_ALONE), NUM_CHOOSING - num_rows))

    def extend(self, judgement: Judgement, row: Row) -> Judgement:
        """The judgement of a row with what is forced behind it, by which its matcher goes on.

        Raises RowFailed when the grammar cannot be followed any further.
        """
        sequence = row.sequence
        if sequence.matcher is None or judgement.fate is not Fate.GOES_ON:
            return judgement
        forced_ids: list[int] = []
        num_forced_max = self._limit(row)
        while len(forced_ids) < num_forced_max:
            num_left = sequence.num_left - 1 - len(forced_ids)
            token_id = _next(sequence, num_left)
            if token_id is None or token_id in self._eos_token_ids:
                break
            take(sequence, token_id, num_left)
            forced_ids.append(token_id)
        self._num_free -= len(forced_ids)
        return replace(judgement, forced_ids=tuple(forced_ids)) if forced_ids else judgement

    def _limit(self, row: Row) -> int:
        """Forced tokens behind the one that the row chose.

        That one needs a slot, too; and of the budget it takes one, and leaves one for a choice.
        """
        sequence = row.sequence
        num_slots = len(sequence.blocks) * self._block_size - sequence.num_spare_slots
        return min(
            sequence.max_forced, self._num_free, num_slots - row.end - 1, sequence.num_left - 2
        )


def _next(sequence: RunningSequence, num_left: int) -> int | None:
    """A token that must come next, and that the guard leaves as it is."""
    matcher, guard = sequence.matcher, sequence.guard
    assert matcher is not None
    token_id = sequence.forced.next(matcher)
    if token_id is None or guard is None or guard.is_sure_of(token_id, num_left):
        return token_id
    return None
