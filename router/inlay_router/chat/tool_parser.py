"""Reads calls of functions out of an answer while it grows."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from inlay_router.chat.tool_syntax import ToolSyntax


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of what the model says."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    """The next call; its arguments follow."""

    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of the arguments of the call that began last: JSON text."""

    text: str


Event = Text | CallBegins | Arguments


class _State(Enum):
    TEXT = auto()
    HEAD = auto()
    """Between an opening and arguments."""
    ARGUMENTS = auto()
    TAIL = auto()
    """Between arguments and the closing behind them."""


class ToolParser:
    """Follows one answer that its grammar holds to `syntax`."""

    def __init__(self, syntax: ToolSyntax) -> None:
        self._syntax = syntax
        self._state = _State.TEXT
        self._buffer = ""
        self._space = ""  # comes before more text, or never
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False
        self._is_plain = False  # no object: the whole answer is text
        self.num_calls = 0
        """Calls that have begun."""

    def feed(self, text: str) -> Iterator[Event]:
        """What `text`, behind all before it, says for certain."""
        self._buffer += text
        step = self._step()
        while step is not None:
            yield from step
            step = self._step()

    def end(self) -> Iterator[Event]:
        """What was held back, when the answer is over."""
        if self._state is _State.TEXT:
            text = self._space + self._buffer
            if text.strip() or (text and not self.num_calls):
                yield Text(text)
        self._buffer = self._space = ""

    def _step(self) -> list[Event] | None:
        """Events of one state; None until more text comes."""
        if not self._buffer:
            return None
        match self._state:
            case _State.TEXT if not self._syntax.opening:
                return self._read_object()
            case _State.TEXT:
                return self._read_text()
            case _State.HEAD:
                return self._read_head()
            case _State.ARGUMENTS:
                return self._read_arguments()
        return self._read_tail()

    def _read_object(self) -> list[Event] | None:
        """Decide, once, whether the answer is an object that is a call."""
        if self._is_plain:
            return self._show(len(self._buffer), len(self._buffer))
        compact = "".join(self._buffer.split())
        begin = '{"name"'
        if begin.startswith(compact):
            return None
        if compact.startswith(begin):
            self._state = _State.HEAD
        else:
            self._is_plain = True
        return []

    def _read_text(self) -> list[Event] | None:
        opening = self._syntax.opening
        place = self._buffer.find(opening)
        if place >= 0:
            events = self._show(place, place + len(opening)) or []
            self._state = _State.HEAD
            return events
        num_held = max(
            (n for n in range(1, len(opening)) if self._buffer.endswith(opening[:n])), default=0
        )
        num_shown = len(self._buffer) - num_held
        return self._show(num_shown, num_shown)

    def _show(self, num_shown: int, num_read: int) -> list[Event] | None:
        """Text, without the space at its end, which calls may follow."""
        text = self._space + self._buffer[:num_shown]
        self._buffer = self._buffer[num_read:]
        shown = text if self._is_plain else text.rstrip()
        self._space = text[len(shown) :]
        if shown:
            return [Text(shown)]
        return [] if num_read else None

    def _read_head(self) -> list[Event] | None:
        found = self._syntax.head.search(self._buffer)
        if found is None:
            return None
        self._buffer = self._buffer[found.end() :]
        self._state = _State.ARGUMENTS
        self.num_calls += 1
        return [CallBegins(found[1])]

    def _read_arguments(self) -> list[Event]:
        """The object, to the bracket that closes it."""
        begin = 0
        if not self._depth:
            begin = self._buffer.find("{")
            if begin < 0:
                self._buffer = ""
                return []
        end = self._scan(begin)
        piece, self._buffer = self._buffer[begin:end], self._buffer[end:]
        if not self._depth:
            self._state = _State.TAIL
        return [Arguments(piece)]

    def _scan(self, begin: int) -> int:
        """Where the arguments end, if they do, else the end of the buffer."""
        for place in range(begin, len(self._buffer)):
            character = self._buffer[place]
            if self._is_escaped:
                self._is_escaped = False
            elif self._is_in_string:
                self._is_escaped = character == "\\"
                self._is_in_string = character != '"'
            elif character == '"':
                self._is_in_string = True
            elif character in "{}":
                self._depth += 1 if character == "{" else -1
                if not self._depth:
                    return place + 1
        return len(self._buffer)

    def _read_tail(self) -> list[Event] | None:
        if self._syntax.repeats != "opening":
            self._state = _State.HEAD
            return []
        place = self._buffer.find(self._syntax.closing)
        if place < 0:
            return None
        self._buffer = self._buffer[place + len(self._syntax.closing) :]
        self._state = _State.TEXT
        return []
