"""What the routes of OpenAI share: usage, ids, finish reasons, several choices a request."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from msgspec import Struct

from inlay_proto import generate_pb2 as pb
from inlay_router.admission import ValidGenerateRequest
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.request import Finish, FinishReason, GenerationRequest, Prompt
from inlay_router.version import VERSION

SYSTEM_FINGERPRINT = f"{VERSION}-native"
"""Changes when the same seed may give another answer."""

_NUM_SEEDS = 1 << 64
_ALPHABET = string.ascii_letters + string.digits
_NUM_CHARACTERS = 24

_REASONS = {
    FinishReason.LENGTH: "length",
    FinishReason.EOS_TOKEN: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
}


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Without effect: events are never padded."""


class PromptTokensDetails(Struct, frozen=True, kw_only=True):
    """Where the tokens of the prompt come from."""

    cached_tokens: int
    """Computed before, for this prompt or another that begins like it; of several answers to one
    prompt, the mean."""
    image_tokens: int
    """Placeholders of images."""


class UsageBody(Struct, frozen=True, kw_only=True):
    """`usage`: tokens as the model sees them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


def usage_of(prompts: Sequence[Prompt], finishes: Sequence[Finish]) -> UsageBody:
    """The tokens of `prompts`, each counted once, and of all answers to them."""
    num_prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
    num_answer_tokens = sum(finish.num_generated_tokens for finish in finishes)
    num_cached_tokens = sum(finish.num_cached_tokens for finish in finishes)
    answers_each = max(1, len(finishes) // max(1, len(prompts)))
    places = [place for prompt in prompts for place in prompt.places]
    return UsageBody(
        prompt_tokens=num_prompt_tokens,
        completion_tokens=num_answer_tokens,
        total_tokens=num_prompt_tokens + num_answer_tokens,
        prompt_tokens_details=PromptTokensDetails(
            cached_tokens=num_cached_tokens // answers_each,
            image_tokens=sum(place.end - place.start for place in places),
        ),
    )


def finish_reason(reason: FinishReason) -> str:
    """OpenAI's word: `stop` or `length`."""
    return _REASONS[reason]


def new_id(prefix: str, num_characters: int = _NUM_CHARACTERS) -> str:
    """A name that no other answer has."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(num_characters))


def num_choices(n: int | None, limits: Limits) -> int:
    """`n`, in range. Raises ValidationError."""
    num = 1 if n is None else n
    if not 0 < num <= limits.max_best_of:
        raise ValidationError(f"`n` must be > 0 and <= {limits.max_best_of}. Given: {num}")
    return num


class Drawing(Protocol):
    """What says how tokens are drawn: the bodies of chats and completions."""

    @property
    def temperature(self) -> float | None:
        """0 takes the likeliest token."""

    @property
    def top_p(self) -> float | None:
        """1 keeps every token."""

    @property
    def top_k(self) -> int | None:
        """0 and -1 keep every token."""


def check_draws(body: Drawing) -> None:
    """Ranges that are wider here than on TGI's routes. Raises ValidationError."""
    if body.temperature is not None and body.temperature < 0:
        raise ValidationError(f"`temperature` must be >= 0.0. Given: {body.temperature}")
    if body.top_p is not None and not 0 < body.top_p <= 1:
        raise ValidationError(f"`top_p` must be > 0.0 and <= 1.0. Given: {body.top_p}")
    if body.top_k is not None and body.top_k < -1:
        raise ValidationError(
            f"`top_k` must be at least 1, or 0 or -1 for all tokens. Given: {body.top_k}"
        )


def kept_top_k(top_k: int | None) -> int | None:
    """In TGI's words, where None keeps every token."""
    return None if top_k in (0, -1) else top_k


def with_choices(request: ValidGenerateRequest, num: int) -> ValidGenerateRequest:
    """`request`, of one generation, with `num` of them: their seeds follow one another."""
    (first,) = request.generations
    others = [_with_seed(first, first.sampling.seed + index) for index in range(1, num)]
    return replace(request, generations=(first, *others))


def _with_seed(request: GenerationRequest, seed: int) -> GenerationRequest:
    sampling = pb.Sampling()
    sampling.CopyFrom(request.sampling)
    sampling.seed = seed % _NUM_SEEDS
    return replace(request, sampling=sampling)
