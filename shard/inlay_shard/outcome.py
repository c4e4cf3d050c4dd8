"""What came of a step, gathered while it runs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Literal

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed

IMPOSSIBLE = -3.4028234663852886e38
"""Log-probability of what cannot follow: the lowest float32, since JSON has no infinity."""


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

    def __repr__(self) -> str:
        return f"Outcome({self._result})"

    def fail(self, sequence_id: int, failure: RowFailed) -> None:
        """A sequence cannot go on."""
        self._result.failures.add(sequence_id=sequence_id, kind=failure.kind, message=str(failure))

    def produce(
        self, sequence_id: int, token_ids: Sequence[int], logprobs: Sequence[float]
    ) -> None:
        """A row produced tokens."""
        self._result.sequence_ids.append(sequence_id)
        self._result.num_tokens.append(len(token_ids))
        self._result.token_ids.extend(token_ids)
        self._result.logprobs.extend(logprobs)

    def add_top_tokens(
        self, sequence_id: int, token_ids: Sequence[int], logprobs: Sequence[float]
    ) -> None:
        """The most likely tokens at each position that a row produced, one after the other."""
        self._result.top_tokens.add(sequence_id=sequence_id, token_ids=token_ids, logprobs=logprobs)

    def add_prompt_logprobs(self, sequence_id: int, start: int, logprobs: Sequence[float]) -> None:
        """Log-probabilities of prompt tokens from position `start` on."""
        self._result.prompt_logprobs.add(sequence_id=sequence_id, start=start, logprobs=logprobs)

    def end(self, sequence_id: int, fate: Fate) -> None:
        """A sequence ended."""
        self._result.endings.add(sequence_id=sequence_id, reason=END_REASONS[fate])

    @contextmanager
    def timed(self, part: Literal["encode", "forward", "mask", "sample"]) -> Iterator[None]:
        """Add the time spent within to one of the step's timings."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            before = getattr(self._result.timings, part)
            setattr(self._result.timings, part, before + time.perf_counter_ns() - start)

    def message(self) -> pb.StepResult:
        """All of it."""
        return self._result

    def failures_only(self) -> pb.StepResult:
        """What a rank other than 0 answers."""
        return pb.StepResult(step_id=self._result.step_id, failures=self._result.failures)
