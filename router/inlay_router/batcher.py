"""Decides what each step computes, and whose each block of the KV pool is; no I/O, no clock."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.blocks import BlockPool
from inlay_router.delivery import Delivery, deliveries
from inlay_router.errors import Overloaded, ValidationError
from inlay_router.quarantine import Quarantine
from inlay_router.sequence import Sequence, State
from inlay_router.steps import Draft, StepStream


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """How much one step and the queue may hold; the size of the KV pool comes from the shard."""

    max_batch_prefill_tokens: int = 512
    """Prompt tokens that one step computes; longer prompts are cut into chunks."""
    max_batch_size: int = 128
    """Sequences that run at a time."""
    max_steps_in_flight: int = 2
    """Steps sent before a result is back; 2 keeps the device busy while the router works."""
    max_waiting: int = 256
    """Sequences that wait to run; one more is refused with Overloaded."""


class Batcher:
    """Continuous batching over one replica.

    Invariant of the blocks: a block that a sequence gives back may be given to another at once,
    although steps in flight still write to it. Shards run steps in the order in which they were
    sent, and the next owner learns of the block in a later step.
    """

    def __init__(self, limits: BatchLimits, pool: BlockPool) -> None:
        self.num_steps = 0
        self.num_tokens = 0
        self.num_preemptions = 0
        self._limits = limits
        self._pool = pool
        self._waiting: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}  # by id; the longest running first
        self._steps = StepStream()
        self._quarantine = Quarantine()
        self._last_sequence_id = 0

    @property
    def pool(self) -> BlockPool:
        """The account of the replica's blocks."""
        return self._pool

    @property
    def running(self) -> Mapping[int, Sequence]:
        """Sequences that take part in steps, by the id that the shards know."""
        return self._running

    @property
    def num_waiting(self) -> int:
        """Sequences in the queue."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Sequences that take part in steps."""
        return len(self._running)

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence.

        Raises Overloaded when the queue is full, and ValidationError when the sequence could not
        run to its end even alone.
        """
        self._check_can_ever_run(sequence)
        if len(self._waiting) >= self._limits.max_waiting:
            raise Overloaded
        sequence.state = State.WAITING
        self._waiting.append(sequence)

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
        draft = Draft(num_prefill_tokens_left=self._limits.max_batch_prefill_tokens)
        if (suspect := self._quarantine.suspect()) is not None:
            self._run_alone(suspect, draft)
        else:
            self._decode(draft)
            self._prefill(draft)
            self._admit(draft)
        return self._issue(draft)

    def _decode(self, draft: Draft) -> None:
        """One row for each sequence that has one token to compute, the longest running first."""
        for sequence in list(self._running.values()):
            is_decoding = sequence.num_unscheduled == 1
            if is_decoding and sequence.state is State.RUNNING and self._grow(sequence, draft):
                draft.rows.append((sequence, 1))

    def _prefill(self, draft: Draft) -> None:
        """The next chunk of prompts that have begun; their blocks were given when they joined."""
        for sequence in self._running.values():
            if sequence.num_unscheduled > 1:
                self._add_chunk(sequence, draft)

    def _admit(self, draft: Draft) -> None:
        """Let the queue in, strictly in order, so that a long prompt is not overtaken for ever."""
        while self._waiting and draft.num_prefill_tokens_left and self._can_join(self._waiting[0]):
            self._join(self._waiting.popleft(), draft)

    def _run_alone(self, suspect: Sequence, draft: Draft) -> None:
        """A row for the suspect and for nobody else, once the others' steps are back."""
        if any(sequence is not suspect for sequence in self._steps.present()):
            return
        if suspect.state is State.WAITING:
            self._waiting.remove(suspect)
            while not self._pool.can_allocate(self._num_blocks_of(suspect)):
                self._preempt(self._youngest())
            self._join(suspect, draft)
            # As the longest running it is not the one to give way when it grows.
            self._running = {suspect.sequence_id: suspect} | self._running
        elif suspect.num_unscheduled == 1 and self._grow(suspect, draft):
            draft.rows.append((suspect, 1))
        elif suspect.num_unscheduled > 1:
            self._add_chunk(suspect, draft)

    def _add_chunk(self, sequence: Sequence, draft: Draft) -> None:
        num_tokens = min(sequence.num_unscheduled, draft.num_prefill_tokens_left)
        if num_tokens:
            draft.rows.append((sequence, num_tokens))
            draft.num_prefill_tokens_left -= num_tokens

    def _can_join(self, sequence: Sequence) -> bool:
        """Whether there is a row and blocks, and each running sequence could still grow by one."""
        if not self._running:
            return True
        has_row = len(self._running) < self._limits.max_batch_size
        num_blocks = self._num_blocks_of(sequence) + len(self._running)
        return has_row and self._pool.can_allocate(num_blocks)

    def _join(self, sequence: Sequence, draft: Draft) -> None:
        self._last_sequence_id += 1
        sequence.sequence_id = self._last_sequence_id
        sequence.state = State.RUNNING
        self._running[sequence.sequence_id] = sequence
        draft.joining.append(sequence.to_message())
        self._give_blocks(sequence, self._num_blocks_of(sequence), draft)
        self._add_chunk(sequence, draft)

    def _num_blocks_of(self, sequence: Sequence) -> int:
        return self._pool.num_blocks_for(len(sequence.token_ids))

    def _grow(self, sequence: Sequence, draft: Draft) -> bool:
        """Make sure of a block for one more token.

        False when only younger ones could give theirs and there are none: the sequence pauses, and
        keeps its blocks until a result frees some or an older one takes them.
        """
        if sequence.num_scheduled < len(sequence.block_ids) * self._pool.block_size:
            return True
        while not self._pool.can_allocate(1):
            victim = self._youngest()
            if victim is sequence:
                return False
            self._preempt(victim)
        self._give_blocks(sequence, 1, draft)
        return True

    def _give_blocks(self, sequence: Sequence, num_blocks: int, draft: Draft) -> None:
        block_ids = self._pool.allocate(num_blocks)
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
        """Take the blocks of a sequence, which computes its tokens again later.

        What steps in flight choose for it is dropped, and will be chosen again.
        """
        self.num_preemptions += 1
        self._remove(sequence)
        self._put_back(sequence)

    def _remove(self, sequence: Sequence) -> None:
        """Take a sequence off the shards. Results that are under way for its id are ignored."""
        del self._running[sequence.sequence_id]
        self._steps.leave(sequence.sequence_id)
        self._pool.free(sequence.withdraw())

    def _put_back(self, sequence: Sequence) -> None:
        sequence.state = State.WAITING
        self._waiting.appendleft(sequence)

    def _issue(self, draft: Draft) -> pb.Step | None:
        if draft.rows:
            self.num_steps += 1
            return self._steps.issue(draft)
        assert self._steps.num_in_flight or not (self._running or self._waiting), f"stuck: {self!r}"
        return None

    def settle(self, result: pb.StepResult) -> list[Delivery]:
        """Take the result of the oldest step in flight; one delivery for each sequence in it."""
        self._steps.confirm(result)
        news = deliveries(result, self._running)
        for delivery in news:
            delivery.sequence.token_ids += delivery.token_ids
            self.num_tokens += len(delivery.token_ids)
            if delivery.ending is not None or delivery.failure is not None:
                self._remove(delivery.sequence)
        return news

    def reset(self, pool: BlockPool, *, has_died: bool = True) -> list[Delivery]:
        """The replica lost everything and has come back, with `pool` for its blocks.

        All running sequences go back to the head of the queue, with the tokens that they have.
        `has_died` says whether what was in flight may be to blame.
        Returns the failures of sequences that cannot go on: one that keeps killing the replica,
        and those that the new pool could never hold.
        """
        present = self._steps.present()
        for sequence in reversed(self._running.values()):
            sequence.withdraw()
            self._put_back(sequence)
        self._running.clear()
        self._pool, self._steps = pool, StepStream()
        culprits = self._quarantine.blame(present) if has_died else []
        failures = [self._expel(sequence, "it stops the shard") for sequence in culprits]
        oversized = [sequence for sequence in self._waiting if not self._can_ever_run(sequence)]
        return failures + [self._expel(s, "the model came back smaller") for s in oversized]

    def _expel(self, sequence: Sequence, reason: str) -> Delivery:
        self.cancel(sequence)
        failure = pb.RowFailure(kind=pb.RowFailure.KIND_INTERNAL, message=reason)
        return Delivery(sequence=sequence, failure=failure)

    def _num_blocks_at_end(self, sequence: Sequence) -> int:
        """Blocks when the answer is as long as it may get; its last token is never computed."""
        return self._pool.num_blocks_for(sequence.num_tokens_max - 1)

    def _can_ever_run(self, sequence: Sequence) -> bool:
        return self._num_blocks_at_end(sequence) <= self._pool.num_blocks

    def _check_can_ever_run(self, sequence: Sequence) -> None:
        if not self._can_ever_run(sequence):
            raise ValidationError(
                f"`inputs` tokens + `max_new_tokens` must be <= {self._num_tokens_max}."
                f" Given: {sequence.num_prompt_tokens} `inputs` tokens and"
                f" {sequence.request.max_new_tokens} `max_new_tokens`"
            )

    @property
    def _num_tokens_max(self) -> int:
        return self._pool.num_blocks * self._pool.block_size + 1

    def __repr__(self) -> str:
        return (
            f"Batcher({self._pool!r}, running {list(self._running.values())},"
            f" waiting {list(self._waiting)}, {self._steps!r})"
        )
