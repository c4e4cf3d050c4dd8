"""The engine in this process, seen from a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from inlay.offline.engine import OfflineEngine
from inlay.offline.engine_options import EngineOptions
from inlay.offline.errors import EngineError, RequestFailed, RequestRefused
from inlay.offline.requests import ChatRequest, GenerateRequest, Request
from inlay.terminal.conversation import Body
from inlay.terminal.errors import TerminalError, refusal
from inlay.terminal.source import Ended, Pieces
from inlay_router.chat.body import ChatBody
from inlay_router.request import Finish, FinishReason
from inlay_router.schemas import GenerateBody


class InProcess:
    """A source of answers that runs the model itself."""

    def __init__(self, options: EngineOptions) -> None:
        """Returns when the model is loaded, which is told who watches. Raises TerminalError."""
        with _in_words(), _waiting(f"loading {options.model or 'the model that ships with inlay'}"):
            self._engine = OfflineEngine(options)
        self.model_id = self._engine.facts.model_id

    def __repr__(self) -> str:
        return f"InProcess({self._engine})"

    def chat(self, body: Body) -> Pieces:
        """See `Source`."""
        return self._pieces(ChatRequest(body=msgspec.convert(body, ChatBody)))

    def plain(self, body: Body) -> Pieces:
        """See `Source`."""
        return self._pieces(GenerateRequest(msgspec.convert(body, GenerateBody)))

    def close(self) -> None:
        """End the engine."""
        self._engine.close()

    def _pieces(self, request: Request) -> Pieces:
        with _in_words(), self._engine.stream(request) as stream:
            for _, items in stream:
                for item in items:
                    if isinstance(item, Finish):
                        is_cut = item.reason is FinishReason.LENGTH
                        yield Ended(
                            finish_reason="length" if is_cut else "stop",
                            num_prompt_tokens=len(stream.request.prompt.token_ids),
                            num_answer_tokens=item.num_generated_tokens,
                        )
                    elif item.text and not item.is_special:
                        yield item.text


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except RequestRefused as error:
        raise refusal(str(error)) from None
    except (EngineError, RequestFailed) as error:
        raise TerminalError(str(error)) from None


@contextmanager
def _waiting(words: str) -> Iterator[None]:
    """Says what is waited for where a person can see it, and takes it back."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"{words} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
