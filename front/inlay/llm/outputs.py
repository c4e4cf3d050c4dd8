"""What came of a prompt, with vLLM's names."""

from collections.abc import Sequence
from dataclasses import dataclass

from inlay.llm.sampling_params import SamplingParams
from inlay.offline.result import Result
from inlay_router.bodies import Generated
from inlay_router.request import FinishReason, Token, TopToken
from inlay_router.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Logprob:
    """How likely a token was at its place."""

    logprob: float
    """Natural logarithm, under the model itself: before penalties, masks and temperature."""
    rank: int | None = None
    """1 for the likeliest; None where it is not among those that were asked for."""
    decoded_token: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionOutput:
    """One answer."""

    index: int
    text: str
    """Without the stop sequence that ended it, unless that was asked for."""
    token_ids: tuple[int, ...]
    """All of them, with the end token and those of the stop sequence."""
    cumulative_logprob: float
    logprobs: list[dict[int, Logprob]] | None
    """One a token: the chosen one and the likeliest ones; None unless asked for."""
    finish_reason: str
    """`stop` or `length`."""
    stop_reason: int | str | None
    """The stop sequence or stop token that ended it; None for the model's own end."""

    def finished(self) -> bool:
        """Always: offline answers are given when they are complete."""
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestOutput:
    """A prompt and its answers."""

    request_id: str
    prompt: str | None
    """As text; None for one that came as token ids."""
    prompt_token_ids: list[int]
    """Placeholders of images included."""
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    """One a token of the prompt, None for the first; None unless asked for."""
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int
    """Tokens of the prompt that had been computed before."""


def request_output(
    request_id: str, result: Result, params: SamplingParams, tokenizer: Tokenizer
) -> RequestOutput:
    """A result in vLLM's form."""
    answers = list(result.answers)
    if len(answers) > params.n:
        answers = sorted(answers, key=lambda each: each.mean_logprob, reverse=True)[: params.n]
    return RequestOutput(
        request_id=request_id,
        prompt=result.request.inputs or None,
        prompt_token_ids=list(result.request.prompt.token_ids),
        prompt_logprobs=_prompt_logprobs(result, params, tokenizer),
        outputs=[_completion(place, each, params) for place, each in enumerate(answers)],
        finished=True,
        num_cached_tokens=max(each.finish.num_cached_tokens for each in answers),
    )


def _completion(index: int, answer: Generated, params: SamplingParams) -> CompletionOutput:
    stop_reason = _stop_reason(answer, params)
    return CompletionOutput(
        index=index,
        text=_text(answer, params, stop_reason),
        token_ids=tuple(token.token_id for token in answer.tokens),
        cumulative_logprob=sum(token.logprob for token in answer.tokens),
        logprobs=None if params.logprobs is None else [_logprobs(t) for t in answer.tokens],
        finish_reason="length" if answer.finish.reason is FinishReason.LENGTH else "stop",
        stop_reason=stop_reason,
    )


def _stop_reason(answer: Generated, params: SamplingParams) -> int | str | None:
    if answer.finish.reason is not FinishReason.STOP_SEQUENCE:
        return None
    last_id = answer.tokens[-1].token_id
    if last_id in (params.stop_token_ids or ()):
        return last_id
    text = answer.finish.generated_text
    return next((stop for stop in params.stops if text.endswith(stop)), None)


def _text(answer: Generated, params: SamplingParams, stop_reason: int | str | None) -> str:
    tokens = answer.tokens
    if isinstance(stop_reason, int):
        tokens = tokens[:-1]
    text = "".join(
        token.text for token in tokens if not (token.is_special and params.skip_special_tokens)
    )
    if isinstance(stop_reason, str) and not params.include_stop_str_in_output:
        return text.removesuffix(stop_reason)
    return text


def _logprobs(token: Token) -> dict[int, Logprob]:
    return _entries(token.token_id, token.text, token.logprob, token.top_tokens)


def _entries(
    token_id: int, text: str, logprob: float, likeliest: Sequence[TopToken]
) -> dict[int, Logprob]:
    """One token first, as vLLM has it, and the likeliest at its place."""
    ranks = {top.token_id: rank for rank, top in enumerate(likeliest, 1)}
    entries = {token_id: Logprob(logprob, ranks.get(token_id), text)}
    for top in likeliest:
        entries.setdefault(top.token_id, Logprob(top.logprob, ranks[top.token_id], top.text))
    return entries


def _prompt_logprobs(
    result: Result, params: SamplingParams, tokenizer: Tokenizer
) -> list[dict[int, Logprob] | None] | None:
    if params.prompt_logprobs is None:
        return None
    finish = result.answers[0].finish
    token_ids = result.request.prompt.token_ids
    places = zip(token_ids, finish.prompt_logprobs, finish.prompt_top_tokens, strict=True)
    return [
        None if logprob is None else _entries(id_, tokenizer.text(id_), logprob, likeliest)
        for id_, logprob, likeliest in places
    ]
