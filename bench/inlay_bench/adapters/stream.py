"""What every engine is asked and answers; times are `time.perf_counter()` seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt in the forms that engines take."""

    token_ids: list[int]
    """Without its picture."""
    text: str
    """The same words."""
    picture: bytes | None = None
    """A PNG file that stands before the words."""


@dataclass
class Stream:
    """One answer as it came."""

    token_ids: list[int] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    """When each token was there for the caller."""

    def take(self, token_ids: Sequence[int], now: float) -> None:
        """Tokens that are there at once."""
        self.token_ids += token_ids
        self.arrivals += [now] * len(token_ids)


@dataclass(frozen=True, kw_only=True)
class Load:
    """How an engine is to be started; the same for all."""

    folder: Path
    """The model in the form that the engine reads."""
    dtype: str
    num_threads: int
    num_streams: int
    """Most streams at a time."""
    num_cache_tokens: int
    """Tokens that the KV cache holds, all streams together."""
    has_images: bool


class Engine(Protocol):
    """A loaded model."""

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """Hand over all prompts at once; exactly `num_new_tokens` tokens each, greedy."""
        ...

    def close(self) -> None:
        """Stop what runs beside."""
        ...
