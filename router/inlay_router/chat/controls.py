"""From the controls of a chat to those of a generation, in range. No I/O."""

from inlay_router.api.asked_grammar import asked_grammar
from inlay_router.chat.body import ChatBody
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.schemas import GenerateParameters
from inlay_router.validation import ValidParameters, validate_parameters


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
            grammar=asked_grammar(body),
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
