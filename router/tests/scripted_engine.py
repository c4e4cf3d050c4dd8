"""A batcher, and the scripted shard that runs its steps and checks what it is given."""

from collections import deque
from typing import Any

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence
from inlay_router.links.scripted_shard import ScriptedShard, scripted_facts
from inlay_router.request import GenerationRequest, ImagePlace, Prompt

BLOCK_SIZE = 4


def next_token(token_ids: list[int], num_prompt_tokens: int) -> int:
    return sum(token_ids) % 100 + 100


class Engine:
    """A batcher and the shard that runs its steps."""

    def __init__(
        self,
        *,
        num_blocks: int = 64,
        has_whole_images: bool = False,
        max_sequences: int = 0,
        **limits: Any,
    ) -> None:
        """max_sequences: whose states the shard can keep, if its model is to have any."""
        facts = scripted_facts(num_blocks=num_blocks, block_size=BLOCK_SIZE)
        facts.bidirectional_images = has_whole_images
        facts.is_recurrent, facts.max_sequences = max_sequences > 0, max_sequences
        self.shard = ScriptedShard(next_token, facts)
        self.batcher = Batcher(BatchLimits(**limits), Replica.of(facts))
        self.in_flight: deque[pb.Step] = deque()
        self.all: list[Sequence] = []
        """Every sequence, as they came."""
        self.sent: list[pb.Step] = []

    @property
    def rows_sent(self) -> list[dict[int, int]]:
        """Tokens of each row of each step, by the names of sequences."""
        rows: list[dict[int, int]] = []
        for step in self.sent:
            if step.HasField("rows"):
                named = zip(step.rows.sequence_ids, step.rows.num_tokens, strict=True)
                rows.append(dict(named))
            else:
                rows.append(dict.fromkeys(rows[-1], 1))
        return rows

    def prompt(self, token_ids: list[int], images: dict[int, bytes] | None = None) -> Prompt:
        """Images, of four tokens each, by where they start."""
        places = tuple(
            ImagePlace(start=start, end=start + 4, digest=digest)
            for start, digest in (images or {}).items()
        )
        features_key = repr(places).encode() if places else b""
        stands = {p: place.digest for place in places for p in range(place.start, place.end)}
        self.shard.images[features_key] = stands
        self.shard.features.add(features_key)
        return Prompt(token_ids=tuple(token_ids), places=places, features_key=features_key)

    def add(self, prompt: Prompt, max_new_tokens: int = 4, **others: Any) -> Sequence:
        request = GenerationRequest(prompt=prompt, max_new_tokens=max_new_tokens, **others)
        sequence = Sequence.of(request)
        self.batcher.add(sequence)
        self.all.append(sequence)
        return sequence

    def send(self) -> None:
        """As many steps as may be in flight."""
        while (step := self.batcher.next_step()) is not None:
            self.in_flight.append(step)
            self.sent.append(step)

    def send_one(self) -> None:
        """A step, which there must be."""
        step = self.batcher.next_step()
        assert step is not None
        self.in_flight.append(step)
        self.sent.append(step)

    def settle(self) -> None:
        """The oldest step in flight."""
        self.batcher.settle(self.shard.run(self.in_flight.popleft()))

    def step(self) -> None:
        """Send, and settle the oldest step if there is one."""
        self.send()
        if self.in_flight:
            self.settle()

    def lose(self) -> None:
        """The replica dies and comes back."""
        self.in_flight.clear()
        self.shard.open()
        self.batcher.reset(Replica.of(self.shard.facts))

    def run(self) -> None:
        self.send()
        while self.in_flight:
            self.settle()
            self.send()

    def ask(self, token_ids: list[int], images: dict[int, bytes] | None = None) -> Sequence:
        """A sequence that ran to its end alone."""
        sequence = self.add(self.prompt(token_ids, images))
        self.run()
        assert sequence.num_answer_tokens == 4
        return sequence
