"""From the controls of a chat to those of a generation, in range. No I/O."""

from inlay_router.api.asked_grammar import asked_grammar
from inlay_router.api.openai import check_draws, kept_top_k
from inlay_router.chat.body import ChatBody
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.schemas import GenerateParameters
from inlay_router.validation import ValidParameters, validate_parameters


def valid_controls(body: ChatBody, limits: Limits) -> ValidParameters:
    """The controls in TGI's words, without those of tools. Raises ValidationError.

    OpenAI samples unless the temperature is 0, and a `top_p` of 1 keeps every token.
    """
    check_draws(body)
    is_greedy = body.temperature == 0
    budget_name, max_tokens = _budget(body)
    parameters = validate_parameters(
        GenerateParameters(
            temperature=None if is_greedy else body.temperature,
            top_p=None if body.top_p == 1 else body.top_p,
            top_k=kept_top_k(body.top_k),
            typical_p=body.typical_p,
            min_p=body.min_p,
            do_sample=not is_greedy,
            repetition_penalty=body.repetition_penalty,
            frequency_penalty=body.frequency_penalty,
            presence_penalty=body.presence_penalty,
            logit_bias=body.logit_bias,
            max_new_tokens=max_tokens,
            stop=[body.stop] if isinstance(body.stop, str) else body.stop,
            watermark=body.watermark,
            seed=body.seed,
            top_n_tokens=_top_logprobs(body, limits),
            grammar=asked_grammar(body),
        ),
        limits,
        budget_name=budget_name,
    )
    if is_greedy:
        parameters.sampling.do_sample = False  # whatever top_p and its like say
    return parameters


def _budget(body: ChatBody) -> tuple[str, int | None]:
    """The length of the answer, by the name that the client gave it."""
    if body.max_completion_tokens is None and body.max_tokens is not None:
        return "max_tokens", body.max_tokens
    return "max_completion_tokens", body.max_completion_tokens


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
