"""From the controls of a chat to those of a generation, in range. No I/O."""

import msgspec
from msgspec import Raw

from inlay_router.chat.body import ChatBody, ResponseFormat
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.schemas import GenerateParameters, GrammarBody
from inlay_router.validation import ValidParameters, validate_parameters

_ANY_OBJECT = Raw(b'{"type":"object"}')


def valid_controls(body: ChatBody, limits: Limits) -> ValidParameters:
    """The controls in TGI's words, without those of tools. Raises ValidationError.

    OpenAI samples unless the temperature is 0, and a `top_p` of 1 keeps every token.
    """
    is_greedy = body.temperature == 0
    parameters = validate_parameters(
        GenerateParameters(
            temperature=None if is_greedy else body.temperature,
            top_p=None if body.top_p == 1 else body.top_p,
            top_k=body.top_k,
            typical_p=body.typical_p,
            do_sample=not is_greedy,
            repetition_penalty=body.repetition_penalty,
            frequency_penalty=body.frequency_penalty,
            presence_penalty=body.presence_penalty,
            logit_bias=body.logit_bias,
            max_new_tokens=_max_tokens(body),
            stop=[body.stop] if isinstance(body.stop, str) else body.stop,
            watermark=body.watermark,
            seed=body.seed,
            top_n_tokens=_top_logprobs(body, limits),
            grammar=_grammar(body.response_format) if body.response_format else None,
        ),
        limits,
    )
    if is_greedy:
        parameters.sampling.do_sample = False  # whatever top_p and its like say
    return parameters


def _max_tokens(body: ChatBody) -> int | None:
    given = {
        "max_completion_tokens": body.max_completion_tokens,
        "max_tokens": body.max_tokens,
    }
    for name, value in given.items():
        if value is not None:
            if value <= 0:
                raise ValidationError(f"`{name}` must be strictly positive. Given: {value}")
            return value
    return None


def _top_logprobs(body: ChatBody, limits: Limits) -> int | None:
    if body.top_logprobs is None:
        return None
    if not body.logprobs:
        raise ValidationError("`top_logprobs` needs `logprobs` to be true")
    if not 0 <= body.top_logprobs <= limits.max_top_n_tokens:
        raise ValidationError(
            f"`top_logprobs` must be >= 0 and <= {limits.max_top_n_tokens}. "
            f"Given: {body.top_logprobs}"
        )
    return body.top_logprobs


def _grammar(format: ResponseFormat) -> GrammarBody | None:
    """OpenAI's spellings, and TGI's, which have a `value`; None for text."""
    if format.type == "text":
        return None
    if format.value is not None:
        return GrammarBody(format.type, Raw(msgspec.json.encode(format.value)))
    if format.type == "json_object":
        return GrammarBody("json", _ANY_OBJECT)
    if format.type == "json_schema" and format.json_schema is not None:
        return GrammarBody("json_schema", Raw(msgspec.json.encode(format.json_schema)))
    if format.type in ("json_schema", "json", "regex"):
        name = "json_schema" if format.type == "json_schema" else "value"
        raise ValidationError(f"`response_format` of type `{format.type}` needs a `{name}`")
    raise ValidationError(
        "`response_format.type` must be `text`, `json_object`, `json_schema`, `json` or `regex`. "
        f"Given: `{format.type[:40]}`"
    )
