"""Decides what each step computes, and whose each block of the KV pool is; no I/O, no clock."""

from collections.abc import Mapping

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.capacity import can_ever_run, check_can_ever_run
from inlay_router.batching.chunks import chunk_size
from inlay_router.batching.delivery import Delivery, deliveries
from inlay_router.batching.fair_queue import FairQueue
from inlay_router.batching.pace import Pace, Unpaced, default_prefill_tokens, is_burst, step_seconds
from inlay_router.batching.prefix import PrefixCache
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence, State
from inlay_router.batching.steps import Draft, StepStream
from inlay_router.errors import Overloaded
from inlay_router.faults.quarantine import VERDICT, Quarantine
from inlay_router.telemetry.stats import Counters


class Batcher:
    """Continuous batching over one replica.

    Invariant of the blocks: a block that a sequence gives back may be given to another at once,
    although steps in flight still write to it. Shards run steps in the order in which they were
    sent, and the next owner learns of the block in a later step.
    """

    def __init__(self, limits: BatchLimits, replica: Replica) -> None:
        self.counters = Counters()
        self._limits = limits
        self._meet(replica)
        self._waiting = FairQueue()
        self._running: dict[int, Sequence] = {}  # by id; the longest running first
        self._quarantine = Quarantine()
        self._last_sequence_id = 0

    def _meet(self, replica: Replica) -> None:
        self._replica = replica
        self._pool = replica.pool
        self._prefix = PrefixCache(replica, is_on=self._limits.has_prefix_cache)
        max_tokens = self._limits.max_batch_prefill_tokens
        pace = Pace if self._limits.is_paced else Unpaced
        self._pace: Pace | Unpaced = pace(max_tokens or default_prefill_tokens(replica.device))
        self._steps = StepStream()

    @property
    def pool(self) -> BlockPool:
        """The account of the replica's blocks."""
        return self._pool

    @property
    def running(self) -> Mapping[int, Sequence]:
        """Sequences that take part in steps, by the id that the shards know."""
        return self._running

    @property
    def num_in_flight(self) -> int:
        """Steps whose result is not back."""
        return self._steps.num_in_flight

    @property
    def has_suspects(self) -> bool:
        """Whether somebody is to run alone."""
        return self._quarantine.suspect() is not None

    @property
    def num_waiting(self) -> int:
        """Sequences in the queue."""
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence.

        Raises Overloaded when the queue is full, and ValidationError when the sequence could not
        run to its end even alone.
        """
        check_can_ever_run(sequence, self._pool)
        if not self._waiting.has_room(sequence, self._limits):
            raise Overloaded
        sequence.state = State.WAITING
        sequence.forcing = self._limits.forcing_of(sequence.request)
        sequence.arrival_step = self.counters.num_steps
        self._waiting.add(sequence)

    def resume(self, sequence: Sequence) -> None:
        """Take back a sequence that failed for a cause that is gone, at the head of the queue."""
        assert sequence.state is State.OUTSIDE, repr(sequence)
        self._quarantine.watch(sequence)
        self._put_back(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Drop a sequence wherever it is; its blocks are free in the next step."""
        if sequence.state is State.RUNNING:
            self._remove(sequence)
        elif sequence.state is State.WAITING:
            self._waiting.remove(sequence)
            sequence.state = State.OUTSIDE

    def clear(self) -> None:
        """Drop every sequence; only `reset` may follow."""
        for sequence in (*self._running.values(), *self._waiting):
            sequence.withdraw()
        self._running.clear()
        self._waiting.clear()

    def next_step(self) -> pb.Step | None:
        """The step to send now, or None when there is nothing to do until a result is back."""
        if self._steps.num_in_flight >= self._limits.max_steps_in_flight:
            return None
        draft = Draft()
        if (suspect := self._quarantine.suspect()) is not None:
            self._run_alone(suspect, draft)
        else:
            prefilling = self._decode(draft)
            newcomer = prefilling[0] if prefilling else self._waiting.head()
            draft.num_prefill_tokens_left = self._pace.num_prefill_tokens(
                len(draft.decoding),
                is_burst=is_burst(draft.decoding, newcomer, self.counters.num_steps),
            )
            self._prefill(prefilling, draft)
            self._admit(draft)
        return self._issue(draft)

    def _decode(self, draft: Draft) -> list[Sequence]:
        """One row for each sequence that has one token to compute, the longest running first.

        Returns those that have more.
        """
        prefilling = []
        for sequence in list(self._running.values()):
            num_unscheduled = sequence.num_unscheduled
            if num_unscheduled > 1:
                prefilling.append(sequence)
            elif num_unscheduled and self._grow(sequence, draft):
                draft.decoding.append(sequence)
        return prefilling

    def _prefill(self, prefilling: list[Sequence], draft: Draft) -> None:
        """The next chunk of prompts that have begun; their blocks were given when they joined."""
        for sequence in prefilling:
            if sequence.state is State.RUNNING:  # it did not give way to a decode row
                self._add_chunk(sequence, draft)

    def _admit(self, draft: Draft) -> None:
        """Let the queue in, strictly in its order: no long prompt at its head is overtaken.

        Whoever joins leaves a block to each of those who run, to grow by.
        """
        while draft.num_prefill_tokens_left and (sequence := self._waiting.head()) is not None:
            num_others = len(self._running)
            if num_others >= self._limits.max_batch_size:
                break
            cached_ids = self._prefix.find(sequence)
            if not self._prefix.has_room(sequence, cached_ids, num_others):
                break
            self._join(self._waiting.pop(), cached_ids, draft)

    def _run_alone(self, suspect: Sequence, draft: Draft) -> None:
        """A row for the suspect and for nobody else, once the others' steps are back."""
        if any(sequence is not suspect for sequence in self._steps.present()):
            return
        draft.num_prefill_tokens_left = self._pace.max_prefill_tokens
        if suspect.state is State.WAITING:
            self._waiting.remove(suspect)
            while not self._prefix.has_room(suspect, [], 0):
                self._preempt(self._youngest())
            self._join(suspect, [], draft)
            # As the longest running it is not the one to give way when it grows.
            self._running = {suspect.sequence_id: suspect} | self._running
        elif suspect.num_unscheduled > 1:
            self._add_chunk(suspect, draft)
        elif suspect.num_unscheduled and self._grow(suspect, draft):
            draft.decoding.append(suspect)

    def _add_chunk(self, sequence: Sequence, draft: Draft) -> None:
        budget = draft.num_prefill_tokens_left
        num_tokens = chunk_size(sequence, budget, has_whole_images=self._replica.has_whole_images)
        if num_tokens:
            draft.chunks.append((sequence, num_tokens))
            draft.num_prefill_tokens_left = max(0, budget - num_tokens)

    def _join(self, sequence: Sequence, cached_ids: list[int], draft: Draft) -> None:
        """Run a sequence behind the blocks that hold its first tokens already."""
        self._last_sequence_id += 1
        is_first = sequence.join(self._last_sequence_id, len(cached_ids), self._pool.block_size)
        if is_first:
            self.counters.num_prompt_tokens += sequence.num_prompt_tokens
            self.counters.num_cached_tokens += sequence.num_cached_tokens
        self._running[sequence.sequence_id] = sequence
        draft.joining.append(sequence.to_message())
        self._give_blocks(sequence, self._prefix.take(sequence, cached_ids), draft)
        self._add_chunk(sequence, draft)

    def _grow(self, sequence: Sequence, draft: Draft) -> bool:
        """Make sure of a block for one more token.

        False when only younger ones could give theirs and there are none: the sequence pauses, and
        keeps its blocks until a result frees some or an older one takes them.
        """
        num_slots = len(sequence.block_ids) * self._pool.block_size
        if sequence.num_scheduled < num_slots:
            if sequence.forcing is not None and sequence.num_slots_wanted > num_slots:
                self._grow_ahead(sequence, draft)
            return True
        while not self._pool.can_allocate(1):
            victim = self._youngest()
            if victim is sequence:
                return False
            self._preempt(victim)
        self._give_blocks(sequence, self._pool.allocate(1), draft)
        return True

    def _grow_ahead(self, sequence: Sequence, draft: Draft) -> None:
        """Give a block for tokens that may be forced, unless the others who run may need it."""
        if self._pool.num_free > len(self._running):
            self._give_blocks(sequence, self._pool.allocate(1), draft)

    def _give_blocks(self, sequence: Sequence, block_ids: list[int], draft: Draft) -> None:
        sequence.block_ids += block_ids
        growth = pb.BlockGrowth(sequence_id=sequence.sequence_id, block_ids=block_ids)
        draft.growths.append(growth)

    def _youngest(self) -> Sequence:
        """Who gives way. Not one that only waits for its last result: it would do it all again."""
        for sequence in reversed(self._running.values()):
            if sequence.num_unscheduled:
                return sequence
        raise AssertionError(f"nobody can give way in {self!r}")

    def _preempt(self, sequence: Sequence) -> None:
        """Take the blocks of a sequence, which later computes again what cannot be found of it.

        What steps in flight choose for it is dropped, and will be chosen again.
        """
        self.counters.num_preemptions += 1
        self._remove(sequence)
        self._put_back(sequence)

    def _remove(self, sequence: Sequence) -> None:
        """Take a sequence off the shards. Results that are under way for its id are ignored."""
        del self._running[sequence.sequence_id]
        self._steps.leave(sequence.sequence_id)
        self._pool.free(sequence.withdraw())

    def _put_back(self, sequence: Sequence) -> None:
        sequence.state = State.WAITING
        self._waiting.put_back(sequence)

    def _issue(self, draft: Draft) -> pb.Step | None:
        if draft.decoding or draft.chunks:
            self.counters.num_steps += 1
            return self._steps.issue(draft)
        assert self._steps.num_in_flight or not (self._running or self._waiting), f"stuck: {self!r}"
        return None

    def settle(self, result: pb.StepResult) -> list[Delivery]:
        """Take the result of the oldest step in flight; one delivery for each sequence in it."""
        failed_ids = {failure.sequence_id for failure in result.failures}
        flight = self._steps.confirm(result, failed_ids)
        self._pace.note(
            num_decoding=len(flight.decoding),
            num_prefill_tokens=flight.num_prefill_tokens,
            seconds=step_seconds(result.timings),
        )
        news = deliveries(result, self._running)
        for delivery in news:
            self._take(delivery)
        for sequence in flight.sequences():
            if sequence.sequence_id not in failed_ids:
                self._prefix.publish(sequence)
        for delivery in news:
            self._end(delivery)
        return news

    def _take(self, delivery: Delivery) -> None:
        delivery.sequence.take(delivery.token_ids, delivery.num_forced)
        delivery.sequence.has_shortened |= delivery.has_shortened
        self.counters.num_tokens += len(delivery.token_ids)
        self.counters.num_forced_tokens += delivery.num_forced

    def _end(self, delivery: Delivery) -> None:
        """Let a sequence go that ended or failed."""
        sequence = delivery.sequence
        if delivery.failure is not None:
            if delivery.failure.kind == pb.RowFailure.KIND_INTERNAL:
                self._prefix.distrust(sequence)
            self._remove(sequence)
        elif delivery.ending is not None:
            self._remove(sequence)

    def reset(self, replica: Replica, *, has_died: bool = True) -> list[Delivery]:
        """The replica lost everything and has come back.

        All running sequences go back to the head of the queue, with the tokens that they have.
        `has_died` says whether what was in flight may be to blame.
        Returns the failures of sequences that cannot go on: one that keeps killing the replica,
        and those that the new pool could never hold.
        """
        present = self._steps.present()
        self._meet(replica)
        for sequence in self._waiting:
            sequence.withdraw()
            sequence.state = State.WAITING
        for sequence in reversed(self._running.values()):
            sequence.withdraw()
            self._put_back(sequence)
        self._running.clear()
        culprits = self._quarantine.blame(present) if has_died else []
        failures = [self._expel(sequence, VERDICT) for sequence in culprits]
        oversized = [
            sequence for sequence in self._waiting if not can_ever_run(sequence, self._pool)
        ]
        return failures + [self._expel(s, "the model came back smaller") for s in oversized]

    def _expel(self, sequence: Sequence, reason: str) -> Delivery:
        self.cancel(sequence)
        failure = pb.RowFailure(kind=pb.RowFailure.KIND_INTERNAL, message=reason)
        return Delivery(sequence=sequence, failure=failure)

    def __repr__(self) -> str:
        return (
            f"Batcher({self._pool!r}, running {list(self._running.values())},"
            f" waiting {list(self._waiting)}, {self._steps!r})"
        )
