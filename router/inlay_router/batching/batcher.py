"""Decides what each step computes, and whose each block of the KV pool is; no I/O, no clock."""

from collections.abc import Mapping
from itertools import chain

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.capacity import can_ever_run, check_can_ever_run
from inlay_router.batching.delivery import Delivery, deliveries, failure_of, take
from inlay_router.batching.fair_queue import FairQueue
from inlay_router.batching.followers import Followers, num_tokens_worth_waiting
from inlay_router.batching.pace import is_burst, pace_of, step_seconds
from inlay_router.batching.prefix import Awaited, PrefixCache
from inlay_router.batching.replica import Replica
from inlay_router.batching.running import Running
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
        self._followers = Followers()
        self._quarantine = Quarantine()
        self._last_sequence_id = 0

    def _meet(self, replica: Replica) -> None:
        self._replica = replica
        self._pool = replica.pool
        has_prefix_cache = self._limits.has_prefix_cache and replica.can_share_blocks
        self._prefix = PrefixCache(replica, is_on=has_prefix_cache)
        self._pace = pace_of(self._limits, replica.device)
        self._steps = StepStream()
        self._running = Running(replica, self._prefix, self._steps)

    @property
    def pool(self) -> BlockPool:
        """The account of the replica's blocks."""
        return self._pool

    @property
    def running(self) -> Mapping[int, Sequence]:
        """Sequences that take part in steps, by the id that the shards know."""
        return self._running.by_id

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

    @property
    def num_following(self) -> int:
        """Sequences that had their turn, and wait for blocks that another one computes."""
        return len(self._followers)

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
            self._running.remove(sequence)
        elif sequence.state is State.WAITING:
            self._take_out(sequence)
            sequence.withdraw()

    def clear(self) -> None:
        """Drop every sequence; only `reset` may follow."""
        for sequence in (*self.running.values(), *self._followers, *self._waiting):
            sequence.withdraw()
        self._running.by_id.clear()
        self._followers.clear()
        self._waiting.clear()

    def next_step(self) -> pb.Step | None:
        """The step to send now, or None when there is nothing to do until a result is back."""
        if self._steps.num_in_flight >= self._limits.max_steps_in_flight:
            return None
        draft = Draft()
        if (suspect := self._quarantine.suspect()) is not None:
            self._run_alone(suspect, draft)
        else:
            prefilling = self._running.decode(draft)
            self._put_back_preempted(draft)
            self._prefill_and_admit(prefilling, draft)
        return self._issue(draft)

    def _prefill_and_admit(self, prefilling: list[Sequence], draft: Draft) -> None:
        """Prompts, as far as the step has room for them beside those that decode."""
        newcomer = next(chain(prefilling, self._followers), None) or self._waiting.head()
        if newcomer is None:
            return
        draft.num_prefill_tokens_left = self._pace.num_prefill_tokens(
            len(draft.decoding),
            is_burst=is_burst(draft.decoding, newcomer, self.counters.num_steps),
        )
        self._prefill(prefilling, draft)
        self._admit(draft)

    def _prefill(self, prefilling: list[Sequence], draft: Draft) -> None:
        """The next chunk of prompts that have begun; their blocks were given when they joined.

        Followers come in their order too, so that waiting costs nobody his place.
        """
        for sequence in self._followers.among(prefilling):
            if sequence.state is State.RUNNING:  # it did not give way to a decode row
                self._running.add_chunk(sequence, draft)
            elif sequence in self._followers and draft.num_prefill_tokens_left:
                self._go_on(sequence, draft)

    def _go_on(self, follower: Sequence, draft: Draft) -> None:
        """Let one join that was held back, once what it waited for is there or will never be."""
        if self._prefix.is_promised(self._followers.awaited_key(follower)):
            return
        cached_ids = self._prefix.find(follower)
        if self._prefix.has_room(follower, cached_ids, len(self._running)):
            self._followers.remove(follower)
            self._join_or_follow(follower, cached_ids, draft)

    def _admit(self, draft: Draft) -> None:
        """Let the queue in, strictly in its order: no long prompt at its head is overtaken.

        Whoever joins leaves a block to each of those who run, to grow by, and to each follower all
        that it will take.
        """
        while draft.num_prefill_tokens_left and (sequence := self._waiting.head()) is not None:
            num_others = len(self._running) + len(self._followers)
            if num_others >= min(self._limits.max_batch_size, self._replica.max_sequences):
                break
            cached_ids = self._prefix.find(sequence)
            num_spare = num_others + self._followers.num_blocks
            if not self._prefix.has_room(sequence, cached_ids, num_spare):
                break
            self._join_or_follow(self._waiting.pop(), cached_ids, draft)

    def _join_or_follow(self, sequence: Sequence, cached_ids: list[int], draft: Draft) -> None:
        """Run a sequence, unless it soon finds enough that others are computing just now."""
        awaited = self._prefix.awaited(sequence, cached_ids)
        if awaited is None or not self._is_worth(awaited, sequence, len(draft.decoding)):
            self._join(sequence, cached_ids, draft)
            return
        name = self._new_name(sequence)
        num_blocks = self._pool.num_blocks_for(len(sequence.token_ids)) - len(cached_ids)
        self._followers.add(sequence, name, awaited_key=awaited.key, num_blocks=num_blocks)

    def _is_worth(self, awaited: Awaited, sequence: Sequence, num_decoding: int) -> bool:
        """Whether all who can wait with a sequence would be done sooner."""
        num_others = self._followers.num_awaiting(awaited.key) + self._waiting.num_alike(sequence)
        min_tokens = self._limits.min_awaited_tokens or num_tokens_worth_waiting(
            self._pace, num_decoding, self._replica.device
        )
        return awaited.num_tokens * (1 + num_others) >= min_tokens

    def _run_alone(self, suspect: Sequence, draft: Draft) -> None:
        """A row for the suspect and for nobody else, once the others' steps are back."""
        if any(sequence is not suspect for sequence in self._steps.present()):
            return
        draft.num_prefill_tokens_left = self._pace.max_prefill_tokens
        if suspect.state is State.WAITING:
            self._take_out(suspect)
            while not self._prefix.has_room(suspect, [], 0):
                self._running.preempt_youngest(draft)
            self._join(suspect, [], draft)
            self._running.put_first(suspect)
        else:
            self._running.go_on(suspect, draft)
        self._put_back_preempted(draft)

    def _join(self, sequence: Sequence, cached_ids: list[int], draft: Draft) -> None:
        """Run a sequence behind the blocks that hold its first tokens already."""
        if self._running.join(sequence, self._new_name(sequence), cached_ids, draft):
            self.counters.num_prompt_tokens += sequence.num_prompt_tokens
            self.counters.num_cached_tokens += sequence.num_cached_tokens

    def _new_name(self, sequence: Sequence) -> int:
        """A name on the shards, unless the sequence has one since it was held back."""
        if not sequence.sequence_id:
            self._last_sequence_id += 1
        return sequence.sequence_id or self._last_sequence_id

    def _take_out(self, sequence: Sequence) -> None:
        """Out of the queue, or of those who were held back behind it."""
        if sequence in self._followers:
            self._followers.remove(sequence)
        else:
            self._waiting.remove(sequence)

    def _put_back(self, sequence: Sequence) -> None:
        sequence.state = State.WAITING
        self._waiting.put_back(sequence)

    def _put_back_preempted(self, draft: Draft) -> None:
        self.counters.num_preemptions += len(draft.preempted)
        for sequence in draft.preempted:
            self._put_back(sequence)

    def _issue(self, draft: Draft) -> pb.Step | None:
        if draft.decoding or draft.chunks:
            self.counters.num_steps += 1
            return self._steps.issue(draft)
        is_busy = self._running or self._followers or self._waiting
        assert self._steps.num_in_flight or not is_busy, f"stuck: {self!r}"
        return None

    def settle(self, result: pb.StepResult) -> list[Delivery]:
        """Take the result of the oldest step in flight; one delivery for each sequence in it."""
        flight = self._steps.land(result.step_id)
        self._pace.note(
            num_decoding=len(flight.decoding),
            num_prefill_tokens=flight.num_prefill_tokens,
            seconds=step_seconds(result.timings),
        )
        filling = flight.confirm(result.failures, self._pool.block_size)
        news = deliveries(result, self.running)
        for sequence in filling + take(news, self.counters):
            self._prefix.publish(sequence)
        if result.endings or result.failures:
            self._let_go(news)
        return news

    def _let_go(self, news: list[Delivery]) -> None:
        """Of sequences that ended or failed."""
        for delivery in news:
            if delivery.failure is not None or delivery.ending is not None:
                if delivery.is_our_fault:
                    self._prefix.distrust(delivery.sequence)
                self._running.remove(delivery.sequence)

    def reset(self, replica: Replica, *, has_died: bool = True) -> list[Delivery]:
        """The replica lost everything and has come back.

        All running sequences go back to the head of the queue, with the tokens that they have.
        `has_died` says whether what was in flight may be to blame.
        Returns the failures of sequences that cannot go on: one that keeps killing the replica,
        and those that the new pool could never hold.
        """
        present, running = self._steps.present(), list(self.running.values())
        self._meet(replica)
        for sequence in self._waiting:
            sequence.withdraw()
            sequence.state = State.WAITING
        for sequence in reversed([*running, *self._followers]):
            sequence.withdraw()
            self._put_back(sequence)
        self._followers.clear()
        culprits = self._quarantine.blame(present) if has_died else []
        failures = [self._expel(sequence, VERDICT) for sequence in culprits]
        oversized = [each for each in self._waiting if not can_ever_run(each, self._pool)]
        return failures + [self._expel(s, "the model came back smaller") for s in oversized]

    def _expel(self, sequence: Sequence, reason: str) -> Delivery:
        self.cancel(sequence)
        return failure_of(sequence, reason)

    def __repr__(self) -> str:
        return (
            f"Batcher({self._pool!r}, running {self._running!r},"
            f" following {list(self._followers)}, waiting {list(self._waiting)}, {self._steps!r})"
        )
