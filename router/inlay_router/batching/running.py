"""The sequences that take part in steps: their rows, and the blocks by which they grow."""

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.chunks import chunk_size
from inlay_router.batching.prefix import PrefixCache
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence
from inlay_router.batching.steps import Draft, StepStream


class Running:
    """Who runs on one replica, and owns its blocks."""

    def __init__(self, replica: Replica, prefix: PrefixCache, steps: StepStream) -> None:
        self.by_id: dict[int, Sequence] = {}
        """By the name that the shards know; the longest running first."""
        self._pool = replica.pool
        self._has_whole_images = replica.has_whole_images
        self._prefix = prefix
        self._steps = steps

    def __len__(self) -> int:
        return len(self.by_id)

    def decode(self, draft: Draft) -> list[Sequence]:
        """One row for each sequence that has one token to compute, the longest running first.

        Returns those that have more. Nearly all only need their turn, so nothing more is looked at.
        """
        prefilling = []
        for sequence in list(self.by_id.values()):
            if sequence.num_scheduled < sequence.num_ready:
                draft.decoding.append(sequence)
            elif sequence.num_unscheduled > 1:
                prefilling.append(sequence)
            elif sequence.num_unscheduled:
                self.decode_one(sequence, draft)
        return prefilling

    def decode_one(self, sequence: Sequence, draft: Draft) -> None:
        """A row for the one token that is unscheduled, if there is a slot for it or can be."""
        num_awaited = sequence.num_scheduled + 1 - len(sequence.token_ids)
        assert num_awaited <= self._steps.num_in_flight, f"a row brought nothing: {sequence!r}"
        if self._grow(sequence, draft):
            sequence.begin_decoding(len(sequence.block_ids) * self._pool.block_size)
            draft.decoding.append(sequence)

    def go_on(self, sequence: Sequence, draft: Draft) -> None:
        """A row for whatever is next of a sequence; none when all of it is in flight."""
        if sequence.num_unscheduled > 1:
            self.add_chunk(sequence, draft)
        elif sequence.num_unscheduled:
            self.decode_one(sequence, draft)

    def add_chunk(self, sequence: Sequence, draft: Draft) -> None:
        """As much of a prompt as the step's budget allows."""
        budget = draft.num_prefill_tokens_left
        num_tokens = chunk_size(sequence, budget, has_whole_images=self._has_whole_images)
        if num_tokens:
            draft.chunks.append((sequence, num_tokens))
            draft.num_prefill_tokens_left = max(0, budget - num_tokens)

    def join(
        self, sequence: Sequence, sequence_id: int, cached_ids: list[int], draft: Draft
    ) -> bool:
        """Run a sequence behind the blocks that hold its first tokens already.

        Returns whether it never ran before.
        """
        is_first = sequence.join(sequence_id, len(cached_ids), self._pool.block_size)
        self.by_id[sequence_id] = sequence
        draft.joining.append(sequence.to_message())
        self._give_blocks(sequence, self._prefix.take(sequence, cached_ids), draft)
        self.add_chunk(sequence, draft)
        return is_first

    def put_first(self, sequence: Sequence) -> None:
        """As the longest running it is not the one to give way when it grows."""
        self.by_id = {sequence.sequence_id: sequence} | self.by_id

    def _grow(self, sequence: Sequence, draft: Draft) -> bool:
        """Make sure of a block for one more token.

        False when only younger ones could give theirs and there are none: the sequence pauses, and
        keeps its blocks until a result frees some or an older one takes them.
        """
        num_slots = len(sequence.block_ids) * self._pool.block_size
        if sequence.num_scheduled < num_slots:
            self._grow_ahead(sequence, num_slots, draft)
            return True
        while not self._pool.can_allocate(1):
            victim = self._youngest()
            if victim is sequence:
                return False
            self._preempt(victim, draft)
        self._give_blocks(sequence, self._pool.allocate(1), draft)
        return True

    def _grow_ahead(self, sequence: Sequence, num_slots: int, draft: Draft) -> None:
        """Give a block for tokens that may be forced, unless the others who run may need it."""
        num_wanted = sequence.num_scheduled + 1 + sequence.num_slots_ahead
        is_short = num_slots < min(num_wanted, sequence.num_tokens_max - 1)
        if is_short and self._pool.num_free > len(self.by_id):
            self._give_blocks(sequence, self._pool.allocate(1), draft)

    def _give_blocks(self, sequence: Sequence, block_ids: list[int], draft: Draft) -> None:
        sequence.block_ids += block_ids
        growth = pb.BlockGrowth(sequence_id=sequence.sequence_id, block_ids=block_ids)
        draft.growths.append(growth)

    def preempt_youngest(self, draft: Draft) -> None:
        """Take the blocks of a sequence, which later computes again what cannot be found of it.

        What steps in flight choose for it is dropped, and will be chosen again.
        """
        self._preempt(self._youngest(), draft)

    def _youngest(self) -> Sequence:
        """Who gives way. Not one that only waits for its last result: it would do it all again."""
        for sequence in reversed(self.by_id.values()):
            if sequence.num_unscheduled:
                return sequence
        raise AssertionError(f"nobody can give way in {self!r}")

    def _preempt(self, sequence: Sequence, draft: Draft) -> None:
        self.remove(sequence)
        draft.preempted.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence off the shards. Results that are under way for its id are ignored."""
        del self.by_id[sequence.sequence_id]
        self._steps.leave(sequence.sequence_id)
        self._prefix.leave(sequence)

    def __repr__(self) -> str:
        return repr(list(self.by_id.values()))
