"""One answer to a chat as it grows: text without its stop sequence, calls, log-probabilities."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET

from inlay_router.api.openai import finish_reason, new_id
from inlay_router.api.stop_text import StopTrimmer
from inlay_router.chat.admission import ValidChat
from inlay_router.chat.answers import (
    AnswerMessage,
    CalledFunction,
    ChatChoice,
    ChunkChoice,
    Delta,
    FunctionDelta,
    Logprobs,
    TokenLogprob,
    ToolCallBody,
    ToolCallDelta,
    token_logprob,
)
from inlay_router.chat.tool_parser import Arguments, CallBegins, Event, Text, ToolParser
from inlay_router.request import Finish, FinishReason, Token

_NUM_ID_CHARACTERS = 9
"""Of the id of a call: Mistral's templates take no other number."""

_FUNCTION: Literal["function"] = "function"


class ChoiceReader:
    """Reads tokens of one answer."""

    def __init__(self, chat: ValidChat) -> None:
        self._syntax = chat.syntax
        self._parser = None if chat.syntax is None else ToolParser(chat.syntax)
        self._trimmer = StopTrimmer(chat.request.parameters.stop)
        self._wants_logprobs = bool(chat.body.logprobs)
        self.logprobs: list[TokenLogprob] = []
        """Of tokens read since these were last taken away."""

    def read(self, token: Token) -> list[Event]:
        """What the token says for certain, together with all before it."""
        if self._wants_logprobs:
            self.logprobs.append(token_logprob(token))
        if token.is_special:
            return self._parse(token.text) if self._is_mark(token.text) else []
        return self._parse(self._trimmer.feed(token.text))

    def end(self, finish: Finish) -> list[Event]:
        """The rest."""
        is_stopped = finish.reason is FinishReason.STOP_SEQUENCE
        events = self._parse(self._trimmer.end(is_stopped=is_stopped))
        return events if self._parser is None else [*events, *self._parser.end()]

    def reason(self, finish: Finish) -> str:
        """`tool_calls` where functions are called; an answer that was cut off says so."""
        reason = finish_reason(finish.reason)
        has_calls = self._parser is not None and self._parser.num_calls > 0
        return "tool_calls" if has_calls and reason == "stop" else reason

    def _is_mark(self, text: str) -> bool:
        return self._syntax is not None and text in self._syntax.marks

    def _parse(self, text: str) -> list[Event]:
        if not text:
            return []
        return [Text(text)] if self._parser is None else list(self._parser.feed(text))


def choice_of(chat: ValidChat, index: int, tokens: Iterable[Token], finish: Finish) -> ChatChoice:
    """A whole answer."""
    reader = ChoiceReader(chat)
    events = [event for token in tokens for event in reader.read(token)]
    events += reader.end(finish)
    return ChatChoice(
        index=index,
        message=_message(events),
        logprobs=Logprobs(reader.logprobs) if chat.body.logprobs else None,
        finish_reason=reader.reason(finish),
        grammar_shortened=finish.is_shortened or UNSET,
    )


def _message(events: Sequence[Event]) -> AnswerMessage:
    text = "".join(event.text for event in events if isinstance(event, Text))
    calls: list[ToolCallBody] = []
    for event in events:
        if isinstance(event, CallBegins):
            calls.append(_call(event.name, ""))
        elif isinstance(event, Arguments):
            last = calls[-1]
            function = CalledFunction(last.function.name, last.function.arguments + event.text)
            calls[-1] = ToolCallBody(last.id, _FUNCTION, function)
    return AnswerMessage("assistant", text if text or not calls else None, None, calls or UNSET)


def _call(name: str, arguments: str) -> ToolCallBody:
    call_id = new_id("", _NUM_ID_CHARACTERS)
    return ToolCallBody(call_id, _FUNCTION, CalledFunction(name, arguments))


class ChoiceWriter:
    """Writes the pieces of one answer of a stream."""

    def __init__(self, chat: ValidChat, index: int) -> None:
        self._reader = ChoiceReader(chat)
        self._index = index
        self._wants_logprobs = bool(chat.body.logprobs)
        self._has_begun = False
        self._num_calls = 0

    def write(self, items: Sequence[Token | Finish]) -> list[ChunkChoice]:
        """The pieces of items that came together; the last of an answer has the reason."""
        pieces: list[ChunkChoice] = []
        if not self._has_begun:
            self._has_begun = True
            pieces.append(self._piece(Delta(role="assistant", content="")))
        for item in items:
            if isinstance(item, Finish):
                pieces += self._pieces(self._reader.end(item))
                pieces.append(self._last_piece(item))
            else:
                pieces += self._pieces(self._reader.read(item))
        return pieces

    def _pieces(self, events: Iterable[Event]) -> list[ChunkChoice]:
        pieces = [self._piece(self._delta(event)) for event in events]
        if not pieces and self._reader.logprobs:
            pieces.append(self._piece(Delta(content="")))
        return pieces

    def _delta(self, event: Event) -> Delta:
        match event:
            case Text(text):
                return Delta(content=text)
            case CallBegins(name):
                self._num_calls += 1
                function = FunctionDelta(name, "")
                call_id = new_id("", _NUM_ID_CHARACTERS)
                call = ToolCallDelta(self._num_calls - 1, call_id, _FUNCTION, function)
                return Delta(tool_calls=[call])
            case Arguments(text):
                function = FunctionDelta(arguments=text)
                return Delta(tool_calls=[ToolCallDelta(self._num_calls - 1, function=function)])

    def _last_piece(self, finish: Finish) -> ChunkChoice:
        piece = self._piece(Delta(), self._reader.reason(finish))
        return msgspec.structs.replace(piece, grammar_shortened=finish.is_shortened or UNSET)

    def _piece(self, delta: Delta, reason: str | None = None) -> ChunkChoice:
        """Log-probabilities go with the first piece behind their tokens."""
        logprobs = None
        if self._wants_logprobs and self._reader.logprobs:
            logprobs, self._reader.logprobs = Logprobs(self._reader.logprobs), []
        return ChunkChoice(self._index, delta, logprobs, reason)
