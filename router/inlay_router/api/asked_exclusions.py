"""What a body of OpenAI's routes says an answer may not hold, and the tokens that end it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from inlay_proto import generate_pb2 as pb
from inlay_router.admission import ValidGenerateRequest
from inlay_router.errors import ValidationError
from inlay_router.exclusions import Exclusions
from inlay_router.request import GenerationRequest
from inlay_router.service import Service

_MAX_WORDS = 128
_MAX_CHARACTERS = 256
"""Of a bad word; all of them are tokenised on the event loop."""


class Excluding(Protocol):
    """The bodies of chats and completions, with vLLM's names."""

    @property
    def ignore_eos(self) -> bool | None:
        """Whether no end token is chosen, so that the answer has all of its length."""

    @property
    def min_tokens(self) -> int | None:
        """No end token is among the first so many."""

    @property
    def stop_token_ids(self) -> list[int] | None:
        """Tokens that end the answer, beside the model's own."""

    @property
    def bad_words(self) -> list[str] | None:
        """Texts that the answer does not hold, as the tokenizer writes them."""

    @property
    def allowed_token_ids(self) -> list[int] | None:
        """The only tokens of the answer, unless there are none."""


def with_exclusions(
    request: ValidGenerateRequest, body: Excluding, service: Service
) -> ValidGenerateRequest:
    """`request` with what `body` excludes. Raises ValidationError."""
    exclusions = Exclusions(
        min_tokens=body.min_tokens or 0,
        ignores_eos=bool(body.ignore_eos),
        bad_words=tuple(body.bad_words or ()),
        allowed_token_ids=tuple(body.allowed_token_ids or ()),
    )
    stop_token_ids = frozenset(body.stop_token_ids or ())
    if not (exclusions or stop_token_ids or exclusions.min_tokens):
        return request
    _check(exclusions, request.generations[0])
    _check_stops(stop_token_ids, service.limits.vocab_size)

    def excluding(generation: GenerationRequest) -> GenerationRequest:
        sampling = pb.Sampling()
        sampling.CopyFrom(generation.sampling)
        exclusions.put_into(sampling, service, stop_token_ids)
        return replace(generation, sampling=sampling, stop_token_ids=stop_token_ids)

    return replace(request, generations=tuple(map(excluding, request.generations)))


def _check(exclusions: Exclusions, generation: GenerationRequest) -> None:
    if not 0 <= exclusions.min_tokens <= generation.max_new_tokens:
        raise ValidationError(
            f"`min_tokens` must be >= 0 and <= `{generation.budget_name}` "
            f"({generation.max_new_tokens}). Given: {exclusions.min_tokens}"
        )
    if exclusions.min_tokens and generation.stop:
        raise ValidationError("`min_tokens` cannot be set together with `stop`")
    if exclusions and generation.grammar is not None:
        raise ValidationError(
            "`min_tokens`, `ignore_eos`, `bad_words` and `allowed_token_ids` cannot be set with a "
            "grammar or tools, which say themselves what an answer holds"
        )
    _check_words(exclusions.bad_words)


def _check_words(words: Sequence[str]) -> None:
    if len(words) > _MAX_WORDS:
        raise ValidationError(f"`bad_words` supports up to {_MAX_WORDS}. Given: {len(words)}")
    if not all(0 < len(word.strip()) <= len(word) <= _MAX_CHARACTERS for word in words):
        raise ValidationError(
            f"`bad_words` must hold texts of 1 to {_MAX_CHARACTERS} characters, not blanks alone"
        )


def _check_stops(token_ids: frozenset[int], vocab_size: int) -> None:
    wrong = [token_id for token_id in token_ids if not 0 <= token_id < vocab_size]
    if wrong:
        raise ValidationError(
            f"`stop_token_ids` must be >= 0 and < {vocab_size}. Given: {wrong[0]}"
        )
