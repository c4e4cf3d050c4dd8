"""Every sequence ends in a bounded number of steps, whatever comes and however long they take."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.pace import MIN_PREFILL_TOKENS
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence, State
from inlay_router.links.scripted_shard import ScriptedShard, scripted_facts
from inlay_router.request import GenerationRequest, ImagePlace, Prompt

NUM_BLOCKS, BLOCK_SIZE = 24, 4
NUM_STEPS_WITHOUT_PREFILL = 4
"""In a row, at most: those that the pace asks for, and what was in flight."""


@dataclass(frozen=True)
class Arrival:
    """A request, and after how many steps it comes."""

    num_steps: int
    num_prompt_tokens: int
    max_new_tokens: int
    has_image: bool
    client_id: str = ""

    def sequence(self, number: int) -> Sequence:
        token_ids = (number, *range(1, self.num_prompt_tokens))
        place = ImagePlace(start=1, end=self.num_prompt_tokens, digest=bytes([number % 3]))
        has_image = self.has_image and self.num_prompt_tokens > 2
        prompt = Prompt(token_ids=token_ids, places=(place,) if has_image else ())
        request = GenerationRequest(prompt=prompt, max_new_tokens=self.max_new_tokens)
        return Sequence.of(request, self.client_id)

    @property
    def num_steps_alone(self) -> int:
        """Steps from when it is the oldest to its end: it loses no block, and gets every budget."""
        num_tokens = self.num_prompt_tokens + self.max_new_tokens
        num_chunks = -(-num_tokens // MIN_PREFILL_TOKENS)
        num_steps = num_chunks * (NUM_STEPS_WITHOUT_PREFILL + 1) + self.max_new_tokens
        return num_steps + 3  # steps that were in flight when it became the oldest


arrivals = st.builds(
    Arrival,
    num_steps=st.integers(0, 60),
    num_prompt_tokens=st.integers(1, 60),
    max_new_tokens=st.integers(1, 36),
    has_image=st.booleans(),
    client_id=st.sampled_from("abc"),
)


@dataclass
class Line:
    """A batcher, a shard, and how long its steps take."""

    seconds: list[float]
    has_whole_images: bool
    in_flight: deque[pb.Step] = field(default_factory=deque)

    def __post_init__(self) -> None:
        facts = scripted_facts(num_blocks=NUM_BLOCKS, block_size=BLOCK_SIZE)
        facts.bidirectional_images = self.has_whole_images
        self.shard = ScriptedShard(lambda token_ids, num_prompt_tokens: 65, facts)
        self.batcher = Batcher(BatchLimits(max_batch_size=6), Replica.of(facts))

    def step(self) -> None:
        while (step := self.batcher.next_step()) is not None:
            self.in_flight.append(step)
        if self.in_flight:
            result = self.shard.run(self.in_flight.popleft())
            seconds = self.seconds[result.step_id % len(self.seconds)]
            result.timings.forward = round(seconds * 1e9)
            self.batcher.settle(result)


@given(
    st.lists(arrivals, min_size=1, max_size=14),
    st.lists(st.sampled_from([0.0, 1e-6, 0.01, 0.1, 30.0]), min_size=1, max_size=9),
    st.booleans(),
)
def test_everyone_ends(
    arriving: list[Arrival], seconds: list[float], has_whole_images: bool
) -> None:
    line = Line(seconds, has_whole_images)
    coming = deque(sorted(arriving, key=lambda arrival: arrival.num_steps))
    bound = coming[-1].num_steps + sum(arrival.num_steps_alone for arrival in arriving)
    sequences: list[Sequence] = []
    for num_steps in range(bound):
        while coming and coming[0].num_steps <= num_steps:
            sequences.append(coming.popleft().sequence(len(sequences)))
            line.batcher.add(sequences[-1])
        line.step()
    for sequence in sequences:
        assert sequence.state is State.OUTSIDE, repr(line.batcher)
        assert sequence.num_answer_tokens == sequence.request.max_new_tokens


@given(st.integers(2, 12), st.sampled_from([0.0, 0.02]))
def test_many_requests_do_not_hold_up_a_stream(num_others: int, seconds: float) -> None:
    """It has a token in every step from its first on, however many prompts come meanwhile."""
    line = Line([seconds], has_whole_images=False)
    stream = Arrival(0, 5, 30, has_image=False).sequence(0)
    line.batcher.add(stream)
    while not stream.num_answer_tokens:
        line.step()
    others = [Arrival(0, 50, 8, has_image=False).sequence(1 + n) for n in range(num_others)]
    for other in others:
        line.batcher.add(other)
    before = stream.num_answer_tokens
    for count in range(1, 20):
        line.step()
        assert stream.num_answer_tokens == before + count
