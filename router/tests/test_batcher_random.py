"""The batcher against random arrivals, departures and faults, with a shard that checks it.

The scripted shard's next token is a function of all that it reads back through block tables, so a
block with two owners, a lost token or a wrong position would change an answer.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inlay_proto import generate_pb2 as pb
from inlay_router.batcher import Batcher, BatchLimits
from inlay_router.blocks import BlockPool
from inlay_router.delivery import Delivery
from inlay_router.errors import Overloaded, ValidationError
from inlay_router.links.link import LinkLost
from inlay_router.links.scripted_shard import RowFault, ScriptedShard, scripted_facts
from inlay_router.request import GenerationRequest, Prompt
from inlay_router.sequence import Sequence, State

NUM_BLOCKS, BLOCK_SIZE = 7, 3
FEATURES = b"features"
POISON, FAULTY = 253, 254
"""First prompt tokens: one takes the shard down in its third token, one fails its row there."""
FACTS = scripted_facts(num_blocks=NUM_BLOCKS, block_size=BLOCK_SIZE)
(END,) = FACTS.eos_token_ids


def next_token(token_ids: list[int]) -> int:
    """The model: any change in its context changes what follows; every tenth or so ends."""
    digest = hash(tuple(token_ids)) % 250
    return END if digest < 20 else digest


def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
    if len(token_ids) == num_prompt_tokens + 2:
        if token_ids[0] == POISON:
            raise LinkLost("poisoned")
        if token_ids[0] == FAULTY:
            raise RowFault(pb.RowFailure.KIND_INTERNAL, "faulty")
    return next_token(token_ids)


def undisturbed(request: GenerationRequest) -> list[int]:
    """The answer that a request gets alone, without faults."""
    token_ids = list(request.prompt.token_ids)
    for _ in range(request.max_new_tokens):
        token_ids.append(next_token(token_ids))
        if token_ids[-1] == END:
            break
    return token_ids[len(request.prompt.token_ids) :]


class Server(RuleBasedStateMachine):
    """What Generation does, without a loop: sends, settles, connects again, repairs."""

    def __init__(self) -> None:
        super().__init__()
        limits = BatchLimits(max_batch_prefill_tokens=5, max_batch_size=4, max_waiting=6)
        self.shard = ScriptedShard(choose, FACTS)
        self.batcher = Batcher(limits, self.pool())
        self.in_flight: deque[pb.Step] = deque()
        self.answers: dict[Sequence, list[int]] = {}
        self.ended: set[Sequence] = set()
        self.failed: set[Sequence] = set()
        self.to_repair: list[Sequence] = []

    def pool(self) -> BlockPool:
        return BlockPool(num_blocks=NUM_BLOCKS, block_size=BLOCK_SIZE)

    @rule(
        first=st.sampled_from([1, 2, 3, FAULTY, POISON]),
        num_prompt_tokens=st.integers(1, 14),
        max_new_tokens=st.integers(1, 12),
        has_images=st.booleans(),
    )
    def add(
        self, first: int, num_prompt_tokens: int, max_new_tokens: int, has_images: bool
    ) -> None:
        token_ids = (first, *range(1, num_prompt_tokens))
        prompt = Prompt(token_ids=token_ids, features_key=FEATURES if has_images else b"")
        sequence = Sequence.of(GenerationRequest(prompt=prompt, max_new_tokens=max_new_tokens))
        num_tokens = num_prompt_tokens + max_new_tokens - 1
        is_too_long = num_tokens > NUM_BLOCKS * BLOCK_SIZE
        is_full = self.batcher.num_waiting >= 6
        try:
            self.batcher.add(sequence)
        except ValidationError:
            assert is_too_long
        except Overloaded:
            assert is_full
        else:
            assert not is_too_long and not is_full
            self.answers[sequence] = []

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(list(self.answers)))
        self.batcher.cancel(sequence)
        assert sequence.block_ids == []
        del self.answers[sequence]

    @rule()
    def send(self) -> None:
        step = self.batcher.next_step()
        if step is not None:
            self.in_flight.append(step)

    @precondition(lambda self: self.in_flight)
    @rule()
    def settle(self) -> None:
        try:
            result = self.shard.run(self.in_flight.popleft())
        except LinkLost:
            self.crash()
            return
        for delivery in self.batcher.settle(result):
            self.take(delivery)

    @precondition(lambda self: all(sequence.num_deaths == 0 for sequence in self.answers))
    @rule()
    def die(self) -> None:
        """For no fault of a sequence, and not over and over before any gets further."""
        self.crash()

    def crash(self) -> None:
        self.shard.die()
        self.lose(has_died=True)

    @rule()
    def refuse(self) -> None:
        self.shard.open()
        self.lose(has_died=False)

    def lose(self, *, has_died: bool) -> None:
        self.in_flight.clear()
        for delivery in self.batcher.reset(self.pool(), has_died=has_died):
            self.take(delivery)

    @rule()
    def evict(self) -> None:
        self.shard.features.clear()

    @rule()
    def repair(self) -> None:
        if self.to_repair:
            self.shard.features.add(FEATURES)
            sequence = self.to_repair.pop()
            if sequence in self.answers:
                self.batcher.resume(sequence)

    def take(self, delivery: Delivery) -> None:
        sequence = delivery.sequence
        if sequence not in self.answers:
            return
        self.answers[sequence] += delivery.token_ids
        if delivery.ending is not None:
            self.ended.add(sequence)
        if delivery.failure is None:
            return
        if delivery.failure.kind == pb.RowFailure.KIND_FEATURES_MISSING:
            self.to_repair.append(sequence)
        else:
            self.failed.add(sequence)

    @invariant()
    def no_block_has_two_owners(self) -> None:
        owned = [block_id for s in self.answers for block_id in s.block_ids]
        assert len(owned) == len(set(owned)) == self.batcher.pool.num_used

    @invariant()
    def every_answer_is_a_part_of_the_undisturbed_one(self) -> None:
        for sequence, token_ids in self.answers.items():
            assert token_ids == undisturbed(sequence.request)[: len(token_ids)]
            assert sequence.token_ids[sequence.num_prompt_tokens :] == token_ids

    def teardown(self) -> None:
        """Everything comes to its end, in a bounded number of steps, with nothing left behind."""
        for _ in range(3000):
            self.repair()
            self.send()
            if not self.in_flight and not self.to_repair:
                break
            if self.in_flight:
                self.settle()
        for sequence, token_ids in self.answers.items():
            assert sequence.state is State.OUTSIDE, repr(self.batcher)
            if sequence in self.ended:
                assert token_ids == undisturbed(sequence.request)
            else:
                assert sequence in self.failed
                assert sequence.request.prompt.token_ids[0] in (POISON, FAULTY), "it was innocent"
        assert self.batcher.pool.num_used == 0
        assert (self.batcher.num_running, self.batcher.num_waiting) == (0, 0)


TestServer = Server.TestCase
TestServer.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
