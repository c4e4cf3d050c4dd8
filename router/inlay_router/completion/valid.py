"""From the body of `/v1/completions` to prompts and controls in range. No I/O."""

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from inlay_router.api.asked_grammar import asked_grammar
from inlay_router.api.openai import check_draws, kept_top_k, num_choices
from inlay_router.completion.body import CompletionBody
from inlay_router.config import Limits
from inlay_router.errors import SuffixNotSupported, TooManyPrompts, ValidationError
from inlay_router.schemas import GenerateParameters
from inlay_router.validation import ValidParameters, validate_parameters

PromptSource: TypeAlias = str | list[int]
"""A prompt as the client sent it: text, or token ids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidCompletion:
    """A completion request in range; its prompts are not read yet."""

    body: CompletionBody
    parameters: ValidParameters
    prompts: tuple[PromptSource, ...]
    num_choices: int
    """Answers a prompt."""
    num_candidates: int
    """Generations a prompt, of which the best `num_choices` are the answers."""
    has_echo: bool
    """Whether an answer begins with its prompt."""
    num_logprobs: int | None
    """Likeliest tokens to name at each position; None for no log-probabilities at all."""

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with an event of usage."""
        options = self.body.stream_options
        return options is not None and bool(options.include_usage)

    @property
    def num_generations(self) -> int:
        """All that run for this request."""
        return len(self.prompts) * self.num_candidates


def validate_completion(body: CompletionBody, limits: Limits) -> ValidCompletion:
    """Check all that can be checked before a prompt is tokenised. Raises RouterErrors."""
    if body.suffix:
        raise SuffixNotSupported
    prompts = _prompts(body.prompt, limits)
    if len(prompts) > limits.max_client_batch_size:
        raise TooManyPrompts(len(prompts), limits.max_client_batch_size)
    n = num_choices(body.n, limits)
    has_echo = bool(body.echo or body.return_full_text)
    num_logprobs = _num_logprobs(body, limits)
    wants_prefill = has_echo and num_logprobs is not None
    if body.stream and wants_prefill:
        raise ValidationError("`echo` with `logprobs` is not supported when streaming tokens")
    return ValidCompletion(
        body=body,
        parameters=_parameters(body, limits, wants_prefill=wants_prefill),
        prompts=prompts,
        num_choices=n,
        num_candidates=_num_candidates(body, n, limits),
        has_echo=has_echo,
        num_logprobs=num_logprobs,
    )


def _parameters(body: CompletionBody, limits: Limits, *, wants_prefill: bool) -> ValidParameters:
    """The controls in TGI's words.

    OpenAI samples unless the temperature is 0, and a `top_p` of 1 keeps every token.
    """
    check_draws(body)
    is_greedy = body.temperature == 0
    parameters = validate_parameters(
        GenerateParameters(
            temperature=None if is_greedy else body.temperature,
            top_p=None if body.top_p == 1 else body.top_p,
            top_k=kept_top_k(body.top_k),
            typical_p=body.typical_p,
            min_p=body.min_p,
            do_sample=not is_greedy if body.do_sample is None else body.do_sample,
            repetition_penalty=body.repetition_penalty,
            frequency_penalty=body.frequency_penalty,
            presence_penalty=body.presence_penalty,
            logit_bias=body.logit_bias,
            max_new_tokens=body.max_tokens,
            stop=body.stop,
            truncate=body.truncate,
            watermark=body.watermark,
            adapter_id=body.adapter_id,
            seed=body.seed,
            top_n_tokens=body.logprobs,
            decoder_input_details=wants_prefill,
            grammar=asked_grammar(body, body.grammar),
        ),
        limits,
        budget_name="max_tokens",
    )
    if is_greedy:
        parameters.sampling.do_sample = False  # whatever top_p and its like say
    return parameters


def _prompts(given: str | list[str | int | list[int]], limits: Limits) -> tuple[PromptSource, ...]:
    """One text, several, the token ids of one, or those of several."""
    if isinstance(given, str):
        prompts: list[PromptSource] = [given]
    elif given and all(isinstance(item, int) for item in given):
        prompts = [msgspec.convert(given, list[int])]
    else:
        prompts = [item for item in given if not isinstance(item, int)]
        if len(prompts) < len(given):
            raise ValidationError("`prompt` must not mix token ids with prompts")
    if not prompts or not all(prompts):
        raise ValidationError("`prompt` cannot be empty")
    for prompt in prompts:
        if not isinstance(prompt, str):
            _check_ids(prompt, limits)
    return tuple(prompts)


def _check_ids(token_ids: list[int], limits: Limits) -> None:
    for token_id in token_ids:
        if not 0 <= token_id < limits.vocab_size:
            raise ValidationError(
                f"`prompt` must hold token ids >= 0 and < {limits.vocab_size}. Given: {token_id}"
            )


def _num_logprobs(body: CompletionBody, limits: Limits) -> int | None:
    if body.logprobs is not None and not 0 <= body.logprobs <= limits.max_top_n_tokens:
        raise ValidationError(
            f"`logprobs` must be >= 0 and <= {limits.max_top_n_tokens}. Given: {body.logprobs}"
        )
    return body.logprobs


def _num_candidates(body: CompletionBody, n: int, limits: Limits) -> int:
    best_of = n if body.best_of is None else body.best_of
    if not n <= best_of <= limits.max_best_of:
        raise ValidationError(
            f"`best_of` must be >= `n` ({n}) and <= {limits.max_best_of}. Given: {best_of}"
        )
    if body.stream and best_of > n:
        raise ValidationError("`best_of` > `n` is not supported when streaming tokens")
    return best_of
