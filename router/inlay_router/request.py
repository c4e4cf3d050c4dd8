"""What a request is once it is past validation: its holder checks nothing again."""

from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from inlay_proto import generate_pb2 as pb


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlace:
    """Half-open interval [start, end) of prompt positions that spans one image's placeholders."""

    start: int
    end: int
    digest: bytes = b""
    """PrepareReply's name for the image as the processor's settings show it to the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A prompt as token ids, with what is needed to prepare its images again after a fault."""

    token_ids: tuple[int, ...]
    """Image placeholders included."""
    places: tuple[ImagePlace, ...] = ()
    """Where the images stand, in order."""
    features_key: bytes = b""
    """Name of the prepared image features on the shards; empty without images."""
    preparation: pb.PrepareRequest | None = None
    """What the shards were asked to prepare; None without images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """One generation: one sequence. `best_of` makes several of these."""

    prompt: Prompt
    max_new_tokens: int
    """At least 1; prompt and answer together fit `max_total_tokens`."""
    budget_name: str = "max_new_tokens"
    """What the client calls `max_new_tokens`."""
    sampling: pb.Sampling = field(default_factory=pb.Sampling)
    grammar: pb.Grammar | None = None
    """Accepted by the compile pool."""
    finishing: pb.Finishing | None = None
    """How the answer is completed within `max_new_tokens`; None if it is cut off there."""
    stop: tuple[str, ...] = ()
    """Non-empty strings; the answer ends right behind the first that it contains."""
    stop_token_ids: frozenset[int] = frozenset()
    """The answer ends with the first of these, beside the model's own end tokens; its text is
    left out."""
    top_n_tokens: int = 0
    wants_prompt_logprobs: bool = False
    num_prompt_top_tokens: int = 0
    """With `wants_prompt_logprobs`: likeliest tokens to report at each place of the prompt."""
    wants_logits: bool = False
    """Whether tokens carry the model's logits; for programs that hold the engine, not for HTTP."""


class FinishReason(StrEnum):
    """Why an answer ended, in TGI's words."""

    LENGTH = "length"
    EOS_TOKEN = "eos_token"
    STOP_SEQUENCE = "stop_sequence"


class Token(Struct, frozen=True, gc=False):
    """One token of an answer as clients see it. A Struct, as it is made five times faster."""

    token_id: int
    text: str
    """What this token adds to the answer; empty while a character is incomplete. The texts of all
    tokens, special ones left out, joined, are the generated text."""
    logprob: float
    is_special: bool
    top_tokens: tuple["TopToken", ...] = ()
    """Most likely first; empty unless asked for."""
    logits: bytes = b""
    """The model's, float32 (vocab_size,), before anything changes them; empty unless asked for, and
    for a token that followed from a grammar."""


class TopToken(Struct, frozen=True, kw_only=True, gc=False):
    """A token that could have been chosen."""

    token_id: int
    text: str
    logprob: float
    is_special: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """The last thing that a generation yields."""

    reason: FinishReason
    generated_text: str
    num_generated_tokens: int
    prompt_logprobs: tuple[float | None, ...] = ()
    """One a prompt token, None for the first; empty unless asked for."""
    prompt_top_tokens: tuple[tuple[TopToken, ...], ...] = ()
    """As `prompt_logprobs`; each the most likely first, and empty unless asked for."""
    num_cached_tokens: int = 0
    """Prompt tokens that had been computed before, for this prompt or another with its prefix."""
    is_shortened: bool = False
    """Whether tokens were changed so that the answer, which a grammar constrains, ends in time."""
    queue_seconds: float = 0.0
    """From submission to the first step."""
    inference_seconds: float = 0.0
    """From the first step to the end."""
