"""What came of a step, gathered while it runs."""

import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Literal, TypeAlias

from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed

IMPOSSIBLE = -3.4028234663852886e38
"""Log-probability of what cannot follow: the lowest float32, since JSON has no infinity."""

Part: TypeAlias = Literal[
    "schedule", "encode", "transfer", "forward", "mask", "sample", "deliver", "fill"
]
"""A part of a step's time, as `StepTimings` names it."""


class Fate(IntEnum):
    """What becomes of a sequence behind a token."""

    GOES_ON = 0
    ENDS_BY_LENGTH = 1
    ENDS_BY_EOS = 2
    FAILS = 3


END_REASONS = {
    Fate.ENDS_BY_LENGTH: pb.END_REASON_LENGTH,
    Fate.ENDS_BY_EOS: pb.END_REASON_EOS_TOKEN,
}


class Outcome:
    """The result of a step as it grows."""

    def __init__(self, step_id: int) -> None:
        self._result = pb.StepResult(step_id=step_id)
        self._timings: dict[Part, int] = {}
        # Lists, packed at the end: one call into protobuf for a batch instead of four a row.
        self._sequence_ids: list[int] = []
        self._num_tokens: list[int] = []
        self._num_forced: list[int] = []
        self._token_ids: list[int] = []
        self._logprobs: list[float] = []

    def __repr__(self) -> str:
        return f"Outcome({self._result}, {len(self._sequence_ids)} rows)"

    def fail(self, sequence_id: int, failure: RowFailed) -> None:
        """A sequence cannot go on."""
        self._result.failures.add(sequence_id=sequence_id, kind=failure.kind, message=str(failure))

    def produce(
        self,
        sequence_id: int,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
        num_forced: int = 0,
    ) -> None:
        """A row produced tokens, and computed the first `num_forced` of them, too."""
        self._sequence_ids.append(sequence_id)
        self._num_tokens.append(len(token_ids))
        self._num_forced.append(num_forced)
        self._token_ids += token_ids
        self._logprobs += logprobs

    def add_top_tokens(
        self, sequence_id: int, token_ids: Sequence[int], logprobs: Sequence[float]
    ) -> None:
        """The most likely tokens at each position that a row produced, one after the other."""
        self._result.top_tokens.add(sequence_id=sequence_id, token_ids=token_ids, logprobs=logprobs)

    def add_prompt_logprobs(self, found: pb.PromptLogprobs) -> None:
        """Log-probabilities of prompt tokens."""
        self._result.prompt_logprobs.append(found)

    def add_logits(self, sequence_id: int, logits: Tensor) -> None:
        """The model's logits (vocab_size,) at the token that a row chooses."""
        values = logits.float().cpu().numpy().tobytes()
        self._result.logits.add(sequence_id=sequence_id, values=values)

    def shorten(self, sequence_id: int) -> None:
        """A token of a sequence was changed, so that its answer ends in time."""
        self._result.shortened_ids.append(sequence_id)

    def end(self, sequence_id: int, fate: Fate) -> None:
        """A sequence ended."""
        self._result.endings.add(sequence_id=sequence_id, reason=END_REASONS[fate])

    def timed(self, part: Part) -> "_Timer":
        """A context: the time spent within is added to one of the step's timings."""
        return _Timer(self, part)

    def spend(self, part: Part, nanoseconds: int) -> None:
        """Add to one of the step's timings."""
        self._timings[part] = self._timings.get(part, 0) + nanoseconds

    def message(self) -> pb.StepResult:
        """All of it."""
        result = self._result
        result.sequence_ids.extend(self._sequence_ids)
        result.num_tokens.extend(self._num_tokens)
        result.token_ids.extend(self._token_ids)
        result.logprobs.extend(self._logprobs)
        if any(self._num_forced):
            result.num_forced.extend(self._num_forced)
        for part, spent in self._timings.items():
            setattr(result.timings, part, spent)
        return result

    def failures_only(self) -> pb.StepResult:
        """What a rank other than 0 answers."""
        return pb.StepResult(step_id=self._result.step_id, failures=self._result.failures)


class _Timer:
    """Measures what is done within. A class, as a generator takes several times as long."""

    __slots__ = ("_outcome", "_part", "_start")

    def __init__(self, outcome: Outcome, part: Part) -> None:
        self._outcome = outcome
        self._part = part

    def __enter__(self) -> None:
        self._start = time.perf_counter_ns()

    def __exit__(self, *arguments: object) -> None:
        self._outcome.spend(self._part, time.perf_counter_ns() - self._start)
