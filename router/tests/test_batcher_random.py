"""The batcher against random arrivals, departures and faults, with a shard that checks it.

The scripted shard's next token is a function of all that it reads back through block tables, so a
block with two owners, a lost token or a wrong position would change an answer.
"""

from collections import deque
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.delivery import Delivery
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence, State
from inlay_router.errors import Overloaded, ValidationError
from inlay_router.links.link import LinkLost
from inlay_router.links.scripted_shard import RowFault, ScriptedShard, scripted_facts
from inlay_router.request import GenerationRequest, ImagePlace, Prompt

POISON, FAULTY = 253, 254
"""First prompt tokens: one takes the shard down in its third token, one fails its row there."""
(END,) = scripted_facts().eos_token_ids


def next_token(token_ids: list[int]) -> int:
    """The model: any change in its context changes what follows; every tenth or so ends."""
    digest = hash(tuple(token_ids)) % 250
    return END if digest < 20 else digest


def force(token_ids: list[int], num_prompt_tokens: int) -> int | None:
    """The model, where a grammar would leave it no choice: in half of all places."""
    if len(token_ids) == num_prompt_tokens + 2 or hash((1, *token_ids)) % 2:
        return None
    token_id = next_token(token_ids)
    return None if token_id == END else token_id


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

    num_blocks, block_size = 7, 3
    max_steps_in_flight = 2

    def __init__(self) -> None:
        super().__init__()
        limits = BatchLimits(
            max_batch_prefill_tokens=5,
            max_batch_size=4,
            max_waiting=6,
            max_steps_in_flight=self.max_steps_in_flight,
            min_awaited_tokens=1,
        )
        facts = scripted_facts(num_blocks=self.num_blocks, block_size=self.block_size)
        self.shard = ScriptedShard(choose, facts)
        self.shard.force = force
        self.batcher = Batcher(limits, self.replica())
        self.in_flight: deque[pb.Step] = deque()
        self.answers: dict[Sequence, list[int]] = {}
        self.ended: set[Sequence] = set()
        self.failed: set[Sequence] = set()
        self.to_repair: list[Sequence] = []

    def replica(self) -> Replica:
        return Replica(pool=BlockPool(num_blocks=self.num_blocks, block_size=self.block_size))

    @rule(
        first=st.sampled_from([1, 2, 3, FAULTY, POISON]),
        num_prompt_tokens=st.integers(1, 14),
        max_new_tokens=st.integers(1, 12),
        image=st.sampled_from([b"", b"cat", b"dog"]),
        wants_prompt_logprobs=st.booleans(),
        grammar=st.sampled_from([None, pb.Grammar()]),
    )
    def add(
        self,
        first: int,
        num_prompt_tokens: int,
        max_new_tokens: int,
        image: bytes,
        wants_prompt_logprobs: bool,
        grammar: pb.Grammar | None,
    ) -> None:
        """Prompts that begin in the same way, but for their first token and their image."""
        token_ids = (first, *range(1, num_prompt_tokens))
        sequence = Sequence.of(
            GenerationRequest(
                prompt=self.prompt(token_ids, image),
                max_new_tokens=max_new_tokens,
                wants_prompt_logprobs=wants_prompt_logprobs,
                grammar=grammar,
            )
        )
        num_tokens = num_prompt_tokens + max_new_tokens - 1
        is_too_long = num_tokens > self.num_blocks * self.block_size
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

    def prompt(self, token_ids: tuple[int, ...], image: bytes) -> Prompt:
        """With the image at positions [2, 6), if the prompt is so long."""
        place = ImagePlace(start=2, end=min(6, len(token_ids)), digest=image)
        if not image or len(token_ids) < 3:
            return Prompt(token_ids=token_ids)
        features_key = image + str(place.end).encode()
        self.shard.images[features_key] = dict.fromkeys(range(2, place.end), image)
        return Prompt(token_ids=token_ids, places=(place,), features_key=features_key)

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
        for delivery in self.batcher.reset(self.replica(), has_died=has_died):
            self.take(delivery)

    @rule()
    def evict(self) -> None:
        self.shard.features.clear()

    @rule()
    def repair(self) -> None:
        if self.to_repair:
            sequence = self.to_repair.pop()
            self.shard.features.add(sequence.request.prompt.features_key)
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
    def every_block_is_accounted_for(self) -> None:
        """But for blocks that hold the same tokens, which the shard checks."""
        owned = {block_id for s in self.answers for block_id in s.block_ids}
        assert len(owned) == self.batcher.pool.num_used

    @invariant()
    def every_answer_is_a_part_of_the_undisturbed_one(self) -> None:
        for sequence, token_ids in self.answers.items():
            assert token_ids == undisturbed(sequence.request)[: len(token_ids)]
            assert list(sequence.token_ids[sequence.num_prompt_tokens :]) == token_ids

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
        assert (len(self.batcher.running), self.batcher.num_waiting) == (0, 0)


class RoomyServer(Server):
    """With room for tokens that are forced."""

    num_blocks, block_size = 12, 6


class PatientServer(RoomyServer):
    """More steps on their way than a router has."""

    max_steps_in_flight = 4


class CrowdedServer(Server):
    """To which the same prompt often comes several times at once."""

    num_blocks, block_size = 24, 2

    @rule(
        first=st.sampled_from([1, 2, FAULTY, POISON]),
        num_prompt_tokens=st.integers(8, 14),
        num_others=st.integers(0, 6),
        image=st.sampled_from([b"", b"cat"]),
        count=st.integers(2, 4),
    )
    def add_equals(
        self, first: int, num_prompt_tokens: int, num_others: int, image: bytes, count: int
    ) -> None:
        """They differ in their last tokens, if at all."""
        for number in range(count):
            end = range(100 + number, 100 + number + num_others)
            token_ids = (first, *range(1, num_prompt_tokens), *end)
            request = GenerationRequest(prompt=self.prompt(token_ids, image), max_new_tokens=4)
            sequence = Sequence.of(request)
            with suppress(Overloaded):
                self.batcher.add(sequence)
                self.answers[sequence] = []


TestServer = Server.TestCase
TestServer.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestRoomyServer = RoomyServer.TestCase
TestRoomyServer.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
TestPatientServer = PatientServer.TestCase
TestPatientServer.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
TestCrowdedServer = CrowdedServer.TestCase
TestCrowdedServer.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
