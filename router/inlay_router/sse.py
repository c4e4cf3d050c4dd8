"""Server-sent events, byte for byte as TGI writes them, through sse-starlette.

An event is one line `data: {json}` and an empty line; a comment of one colon keeps silent
connections open. There is no `[DONE]` on the routes of TGI.
"""

from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec import UNSET
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Send

from inlay_router.admission import ValidGenerateRequest
from inlay_router.bodies import stream_details, token_body
from inlay_router.errors import IncompleteGeneration, RouterError
from inlay_router.request import Finish, Token
from inlay_router.schemas import ErrorBody, StreamEvent

KEEP_ALIVE_SECONDS = 15
SEND_SECONDS = 60
"""A client that does not read a keep-alive for so long is gone; until then it holds a permit."""

_KEEP_ALIVE = b":\n\n"

_encode = msgspec.json.Encoder().encode


class _KeepAlive(ServerSentEvent):
    def encode(self) -> bytes:
        return _KEEP_ALIVE


class _EventStream(EventSourceResponse):
    """Times only the keep-alives, which get stuck behind any event that does not get through.

    A timer around each event would cost four times as much as the event (16 of 20 µs).
    """

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        if message.get("body") == _KEEP_ALIVE:
            await super()._send_with_timeout(send, message)
        else:
            await send(message)


def event_stream(frames: AsyncIterator[bytes], headers: dict[str, str]) -> EventSourceResponse:
    """A response that sends each item as it is; an item holds one or more whole events."""
    return _EventStream(
        frames,
        headers={"content-type": "text/event-stream", "cache-control": "no-cache", **headers},
        ping=KEEP_ALIVE_SECONDS,
        ping_message_factory=_KeepAlive,
        send_timeout=SEND_SECONDS,
    )


def frame(body: msgspec.Struct) -> bytes:
    """One event."""
    return b"data: %b\n\n" % _encode(body)


def error_frame(error: RouterError) -> bytes:
    """The event that ends a stream after its first byte, when it is too late for a status."""
    if isinstance(error, IncompleteGeneration):
        return frame(ErrorBody(f"{error} stream", f"{error.error_type}_stream"))
    return frame(ErrorBody(str(error), error.error_type))


class TokenFrames:
    """Writes the events of one `/generate_stream`, numbered from 1."""

    def __init__(self, request: ValidGenerateRequest) -> None:
        self._request = request
        self._num_events = 0

    def write(self, items: Sequence[Token | Finish]) -> bytes:
        """The events of items that came together; the Finish comes with the last token."""
        finish = items[-1] if isinstance(items[-1], Finish) else None
        tokens = [item for item in items if isinstance(item, Token)]
        frames = [self._event(token) for token in tokens[:-1]]
        frames.append(self._event(tokens[-1], finish))
        return b"".join(frames)

    def _event(self, token: Token, finish: Finish | None = None) -> bytes:
        self._num_events += 1
        event = StreamEvent(
            index=self._num_events,
            token=token_body(token),
            top_tokens=[token_body(top) for top in token.top_tokens] or UNSET,
        )
        return frame(event if finish is None else self._last(event, finish))

    def _last(self, event: StreamEvent, finish: Finish) -> StreamEvent:
        wants_details = self._request.parameters.wants_details
        return msgspec.structs.replace(
            event,
            generated_text=self._request.full_text(finish.generated_text),
            details=stream_details(self._request.generations[0], finish) if wants_details else None,
        )
