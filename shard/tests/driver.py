"""A small stand-in for the router's batcher: it drives an engine, in this process or in others."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inlay_proto import generate_pb2 as pb
from inlay_shard.images.recipe import Piece

BLOCK_SIZE = 32


class Runs(Protocol):
    """What a driver drives: an engine in this process, or the ranks of a replica in others."""

    @property
    def facts(self) -> pb.ModelFacts:
        """Of its model."""

    def prepare(self, pieces: Sequence[Piece]) -> pb.PrepareReply:
        """The prompt of text and encoded images."""

    def run(self, step: pb.Step) -> pb.StepResult:
        """One step."""


@dataclass
class Running:
    """A sequence as the driver sees it."""

    message: pb.Sequence
    num_computed: int = 0
    block_ids: list[int] = field(default_factory=list)
    num_shared_blocks: int = 0
    """Blocks at the front that belong to another sequence."""
    output_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    prompt_logprobs: dict[int, float] = field(default_factory=dict)
    top_tokens: list[tuple[int, float]] = field(default_factory=list)
    ending: int | None = None
    failure: pb.RowFailure | None = None
    has_shortened: bool = False
    is_known: bool = False
    places: Sequence[pb.ImagePlace] = ()

    def behind_image(self, end: int) -> int:
        """The end of the image that a row up to `end` would cut, else `end`."""
        for place in self.places:
            if place.start < end < place.start + place.length:
                return place.start + place.length
        return end

    @property
    def num_tokens(self) -> int:
        """Prompt and answer."""
        return self.message.num_prompt_tokens + len(self.output_ids)

    @property
    def is_over(self) -> bool:
        """Whether it ended or failed."""
        return self.ending is not None or self.failure is not None


class Driver:
    """Runs sequences to their ends, in steps like those of a router."""

    def __init__(
        self, shard: Runs, *, seed: int = 0, chunk: int = 1 << 20, num_ahead: int = 0
    ) -> None:
        """chunk: tokens of a prefill row at most. num_ahead: slots given out before they are
        needed. Blocks are given out in a random order."""
        self.shard = shard
        self.sequences: dict[int, Running] = {}
        self.results: list[pb.StepResult] = []
        self._chunk = chunk
        self._num_ahead = num_ahead
        self._random = random.Random(seed)
        self._free = list(range(shard.facts.num_blocks))
        self._random.shuffle(self._free)
        self._leaving: list[int] = []

    def add(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int = 12,
        *,
        shared: Sequence[int] = (),
        places: Sequence[pb.ImagePlace] = (),
        **others: Any,
    ) -> Running:
        """A sequence that joins with the next step.

        shared: full blocks of a running sequence that begins with the same tokens.
        places: of images, which are not cut if the model says so.
        """
        num_cached_tokens = len(shared) * BLOCK_SIZE
        message = pb.Sequence(
            sequence_id=len(self.sequences) + 1,
            token_ids=token_ids,
            num_prompt_tokens=len(token_ids),
            max_new_tokens=max_new_tokens,
            num_cached_tokens=num_cached_tokens,
            **others,
        )
        self.sequences[message.sequence_id] = Running(
            message, num_cached_tokens, list(shared), len(shared), places=places
        )
        return self.sequences[message.sequence_id]

    def preempt(self, running: Running) -> None:
        """Take a sequence's blocks away; it joins anew under another id, with its tokens so far."""
        old = running.message
        self._release(running)
        del self.sequences[old.sequence_id]
        message = pb.Sequence()
        message.CopyFrom(old)
        message.sequence_id = old.sequence_id + 1000
        del message.token_ids[old.num_prompt_tokens :]
        message.token_ids.extend(running.output_ids)
        message.num_cached_tokens = 0
        if message.HasField("finishing"):
            message.finishing.has_shortened = running.has_shortened
        running.message, running.num_computed, running.is_known = message, 0, False
        self.sequences[message.sequence_id] = running

    def step(self) -> pb.StepResult:
        """One step with every sequence that is not over."""
        rows = [running for running in self.sequences.values() if not running.is_over]
        if self._random.random() < 0.25:  # most of the time rows stand where they stood
            self._random.shuffle(rows)
        step = pb.Step(step_id=len(self.results) + 1, leaving_ids=self._leaving)
        self._leaving = []
        for running in rows:
            self._plan(running, step)
        result = self.shard.run(step)
        self.results.append(result)
        self._settle(result)
        return result

    def run(self) -> None:
        """Steps until all is over."""
        while any(not running.is_over for running in self.sequences.values()):
            self.step()

    def _plan(self, running: Running, step: pb.Step) -> None:
        grown: list[int] = []
        if not running.is_known:
            step.joining.append(running.message)
            running.is_known = True
            grown += running.block_ids
        end = min(running.num_computed + self._chunk, running.num_tokens)
        if self.shard.facts.bidirectional_images:
            end = running.behind_image(end)
        num_tokens = end - running.num_computed
        num_blocks = -(-(running.num_computed + num_tokens + self._num_ahead) // BLOCK_SIZE)
        new = [self._free.pop() for _ in range(num_blocks - len(running.block_ids))]
        grown += new
        if grown:
            step.growths.add(sequence_id=running.message.sequence_id, block_ids=grown)
            running.block_ids += new
        step.rows.sequence_ids.append(running.message.sequence_id)
        step.rows.num_tokens.append(num_tokens)
        running.num_computed += num_tokens

    def _settle(self, result: pb.StepResult) -> None:
        offset = 0
        for sequence_id, count in zip(result.sequence_ids, result.num_tokens, strict=True):
            running = self.sequences[sequence_id]
            running.output_ids += result.token_ids[offset : offset + count]
            running.logprobs += result.logprobs[offset : offset + count]
            offset += count
        for sequence_id, num_forced in zip(result.sequence_ids, result.num_forced, strict=False):
            self.sequences[sequence_id].num_computed += num_forced
        for top in result.top_tokens:
            pairs = zip(top.token_ids, top.logprobs, strict=True)
            self.sequences[top.sequence_id].top_tokens += pairs
        for found in result.prompt_logprobs:
            values = self.sequences[found.sequence_id].prompt_logprobs
            values.update(enumerate(found.logprobs, found.start))
        for sequence_id in result.shortened_ids:
            self.sequences[sequence_id].has_shortened = True
        for ending in result.endings:
            self.sequences[ending.sequence_id].ending = ending.reason
        for failure in result.failures:
            self.sequences[failure.sequence_id].failure = failure
        for running in self.sequences.values():
            if running.is_over:
                self._release(running)

    def _release(self, running: Running) -> None:
        """Blocks go back to be used again at once."""
        if running.is_known and not running.is_over:
            self._leaving.append(running.message.sequence_id)
        self._free += running.block_ids[running.num_shared_blocks :]
        self._random.shuffle(self._free)
        running.block_ids, running.num_shared_blocks = [], 0
