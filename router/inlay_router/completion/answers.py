"""From what generations yielded to the choices of `/v1/completions`, whole or piece by piece."""

import time
from collections.abc import Sequence

import msgspec

from inlay_router.admission import ValidGenerateRequest
from inlay_router.api.openai import SYSTEM_FINGERPRINT, finish_reason, new_id, usage_of
from inlay_router.api.stop_text import StopTrimmer
from inlay_router.bodies import Generated
from inlay_router.completion.body import (
    CompletionAnswer,
    CompletionChoice,
    CompletionLogprobs,
)
from inlay_router.completion.valid import ValidCompletion
from inlay_router.request import Finish, FinishReason, Token, TopToken
from inlay_router.sse import frame
from inlay_router.text.tokenizer import Tokenizer


def empty_answer(model_id: str) -> CompletionAnswer:
    """The frame of an answer, or of every event of one stream."""
    return CompletionAnswer(
        object="text_completion",
        id=new_id("cmpl-"),
        created=int(time.time()),
        model=model_id,
        system_fingerprint=SYSTEM_FINGERPRINT,
        choices=[],
        usage=None,
    )


def choice_of(
    asked: ValidCompletion,
    request: ValidGenerateRequest,
    generated: Generated,
    index: int,
    tokenizer: Tokenizer,
) -> CompletionChoice:
    """One whole answer."""
    finish = generated.finish
    trimmer = StopTrimmer(request.parameters.stop)
    text = trimmer.feed(finish.generated_text)
    text += trimmer.end(is_stopped=finish.reason is FinishReason.STOP_SEQUENCE)
    logprobs = None
    if asked.num_logprobs is not None:
        written = _Logprobs(asked.num_logprobs)
        if asked.has_echo:
            written.add_prompt(request, finish, tokenizer)
        for token in generated.tokens:
            written.add(token)
        logprobs = written.take()
    if asked.has_echo:
        text = request.inputs + text
    return CompletionChoice(index, text, logprobs, finish_reason(finish.reason))


class CompletionFrames:
    """Writes the events of one choice of a stream."""

    def __init__(
        self, empty: CompletionAnswer, asked: ValidCompletion, request: ValidGenerateRequest
    ) -> None:
        self._empty = empty
        self._request = request
        self._trimmer = StopTrimmer(request.parameters.stop)
        self._logprobs = None if asked.num_logprobs is None else _Logprobs(asked.num_logprobs)
        self._has_usage = asked.body.stream_options is None

    def begin(self, index: int) -> bytes:
        """The prompt, for answers that begin with it."""
        return self._event(index, self._request.inputs)

    def write(self, index: int, items: Sequence[Token | Finish]) -> bytes:
        """The events of items that came together, the last with the reason if it is over."""
        finish = items[-1] if isinstance(items[-1], Finish) else None
        events = []
        for token in items:
            if isinstance(token, Token):
                text = "" if token.is_special else self._trimmer.feed(token.text)
                if self._logprobs is not None:
                    self._logprobs.add(token)
                if text or self._logprobs is not None:
                    events.append(self._event(index, text))
        if finish is not None:
            is_stopped = finish.reason is FinishReason.STOP_SEQUENCE
            events.append(self._event(index, self._trimmer.end(is_stopped=is_stopped), finish))
        return b"".join(events)

    def _event(self, index: int, text: str, finish: Finish | None = None) -> bytes:
        logprobs = None if self._logprobs is None else self._logprobs.take()
        reason = None if finish is None else finish_reason(finish.reason)
        usage = None
        if finish is not None and self._has_usage:
            usage = usage_of([self._request.prompt], [finish])
        choice = CompletionChoice(index, text, logprobs, reason)
        return frame(msgspec.structs.replace(self._empty, choices=[choice], usage=usage))


class _Logprobs:
    """Gathers tokens, which `take` hands over; offsets count characters of all of them."""

    def __init__(self, num_top: int) -> None:
        self._num_top = num_top
        self._offset = 0
        self._rows: list[tuple[str, float | None, dict[str, float] | None, int]] = []

    def add_prompt(
        self, request: ValidGenerateRequest, finish: Finish, tokenizer: Tokenizer
    ) -> None:
        token_ids = request.prompt.token_ids
        places = zip(token_ids, finish.prompt_logprobs, finish.prompt_top_tokens, strict=True)
        for token_id, logprob, top_tokens in places:
            self._add(tokenizer.text(token_id), logprob, top_tokens)

    def add(self, token: Token) -> None:
        self._add(token.text, token.logprob, token.top_tokens)

    def _add(self, text: str, logprob: float | None, top_tokens: Sequence[TopToken]) -> None:
        """The first token of a prompt has no log-probability, and none that could stand there."""
        top = {top.text: top.logprob for top in reversed(top_tokens)}
        named = None if logprob is None else {text: logprob} | top
        self._rows.append((text, logprob, named, self._offset))
        self._offset += len(text)

    def take(self) -> CompletionLogprobs | None:
        if not self._rows:
            return None
        tokens, logprobs, tops, offsets = (list(column) for column in zip(*self._rows, strict=True))
        self._rows.clear()
        return CompletionLogprobs(tokens, logprobs, tops if self._num_top else None, offsets)
