"""What one side did with one batch of prompts, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from inlay_bench.prompts import Prompt


class BenchFailed(Exception):
    """The measurement means nothing; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The answers to prompts handed over together; times are seconds since they were."""

    first_token_seconds: tuple[float, ...]
    """One a stream: when its first token was there."""
    last_token_seconds: tuple[float, ...]
    token_ids: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Until the last token of the last stream."""
        return max(self.last_token_seconds)

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens over the whole time, prompts included."""
        return sum(map(len, self.token_ids)) / self.seconds

    @property
    def first_token_milliseconds(self) -> float:
        """Median of the streams."""
        return 1000 * median(self.first_token_seconds)

    @property
    def token_milliseconds(self) -> float:
        """Time between two tokens of a stream: its mean, then the median of the streams."""
        spans = zip(self.first_token_seconds, self.last_token_seconds, self.token_ids, strict=True)
        return 1000 * median((last - first) / (len(ids) - 1) for first, last, ids in spans)

    def check(self, num_streams: int, num_new_tokens: int) -> None:
        """Raises BenchFailed unless every stream has exactly its tokens."""
        lengths = [len(ids) for ids in self.token_ids]
        if lengths != [num_new_tokens] * num_streams:
            raise BenchFailed(
                f"{num_streams} streams of {num_new_tokens} tokens were asked for; got {lengths}"
            )


class Side(Protocol):
    """One of the two that are compared."""

    async def answer(self, prompts: Sequence[Prompt], num_new_tokens: int) -> Batch:
        """Hand over all prompts at once and wait for all answers. Raises BenchFailed."""
        ...


def count_equal(ours: Batch, theirs: Batch) -> int:
    """Streams whose tokens and text are the same on both sides.

    A character that the last token leaves incomplete is not text: a stream never shows one, and
    `generate` decodes it to the replacement character.
    """
    pairs = zip(ours.token_ids, ours.texts, theirs.token_ids, theirs.texts, strict=True)
    return sum(
        our_ids == their_ids and whole_text(our_text) == whole_text(their_text)
        for our_ids, our_text, their_ids, their_text in pairs
    )


def whole_text(text: str) -> str:
    """The text without an incomplete character at its end."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}")
