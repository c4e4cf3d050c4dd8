"""What a pipeline answers."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer, or, while it streams, what came since the piece before."""

    text: str
    """Without the stop word or end token that ended it."""
    input_token_len: int
    """Tokens of the prompt, with template and images."""
    generate_token_len: int
    """Tokens of the answer so far, without the end token."""
    finish_reason: Literal["stop", "length"] | None = None
    """None while it streams."""
    token_ids: list[int] = field(default_factory=list)
    """Of the answer, without the end token."""
    logprobs: list[dict[int, float]] | None = None
    """At each of `token_ids`, log-probabilities by id: of the token, then of the likeliest."""
    logits: "Tensor | None" = field(default=None, repr=False)
    """float32 (len(token_ids), vocab_size), before penalties and grammar. What a grammar alone left
    possible has 0, and -inf everywhere else."""
    index: int = 0
    """Place of the prompt in the batch."""
    cached_tokens: int = 0
    """Tokens of the prompt that were found computed; known with the last piece."""

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class Session:
    """A conversation with a pipeline."""

    history: list[tuple[object, str]] = field(default_factory=list)
    """Prompts, as they were given, and the texts of their answers."""
    response: Response | None = None
    """The last answer; None before the first, and while the next one streams."""

    def __repr__(self) -> str:
        return f"Session({len(self.history)} turns)"
