"""Server-sent events, byte for byte as TGI writes them.

An event is one line `data: {json}` and an empty line; a comment of one colon keeps silent
connections open. There is no `[DONE]` on the routes of TGI.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inlay_router.admission import ValidGenerateRequest
from inlay_router.bodies import stream_details, token_body
from inlay_router.doors.response_body import Outbox, ResponseBody
from inlay_router.errors import IncompleteGeneration, RouterError
from inlay_router.request import Finish, Token
from inlay_router.schemas import (
    ErrorBody,
    OpenAIErrorBody,
    OpenAIErrorEvent,
    StreamEvent,
    TokenBody,
)
from inlay_router.text.answer import Deputy, Items

KEEP_ALIVE_SECONDS = 15
SEND_SECONDS = 60
"""A client that does not read a keep-alive for so long is gone; until then it holds a permit."""

DONE = b"data: [DONE]\n\n"
"""The event that ends every stream of OpenAI's routes."""

_KEEP_ALIVE = b":\n\n"
_DIRECT_SEND = "inlay.send"
_DIRECT_BODY = "inlay.body"

_encode = msgspec.json.Encoder().encode


class DirectSend:
    """Outermost ASGI layer: lets a stream send its body past all layers that only look at heads.

    Each layer between costs a coroutine for every event.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._outbox = Outbox()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the server's own `send` for `event_stream`, and its body for `deputy`."""
        scope[_DIRECT_SEND] = send
        scope[_DIRECT_BODY] = ResponseBody.behind(send, self._outbox)
        await self._app(scope, receive, send)


class _ClientGone(Exception):
    """The client closed the connection, or does not read from it."""


class _EventStream(StreamingResponse):
    """One task writes, one keeps the connection open, one waits for the client to leave.

    Only keep-alives are timed: they get stuck behind any event that does not get through, and a
    timer around each event would cost more than the event.
    """

    def __init__(self, frames: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(frames, headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end or the client is gone; the frames are closed in any case."""
        head = {"status": self.status_code, "headers": self.raw_headers}
        async with aclosing(self._frames):
            await send({"type": "http.response.start", **head})
            direct: Send = scope.get(_DIRECT_SEND, send)
            try:
                async with asyncio.TaskGroup() as tasks:
                    watches = [_keep_alive(direct), _until_left(receive)]
                    watching = [tasks.create_task(watch) for watch in watches]
                    # In a task of its own: waking this one goes through every layer above.
                    await tasks.create_task(self._write(direct))
                    for watch in watching:
                        watch.cancel()
            except* _ClientGone:
                pass

    async def _write(self, send: Send) -> None:
        async for frames in self._frames:
            await send(_body(frames))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _keep_alive(send: Send) -> None:
    while True:
        await asyncio.sleep(KEEP_ALIVE_SECONDS)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send(_body(_KEEP_ALIVE))
        except TimeoutError:
            raise _ClientGone from None


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _ClientGone


def event_stream(frames: AsyncGenerator[bytes, None], headers: dict[str, str]) -> StreamingResponse:
    """A response that sends each item as it is; an item holds one or more whole events."""
    own = {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
    }
    return _EventStream(frames, own | headers)


def deputy(request: Request, write: Callable[[Items], bytes]) -> Deputy | None:
    """Sends what `write` makes of items at once, while their reader, who streams the answer to
    `request`, is asleep; None where the server does not let us."""
    body: ResponseBody | None = request.scope.get(_DIRECT_BODY)
    return None if body is None else body.writer(write)


def frame(body: msgspec.Struct) -> bytes:
    """One event."""
    return b"data: %b\n\n" % _encode(body)


def error_frame(error: RouterError) -> bytes:
    """The event that ends a stream after its first byte, when it is too late for a status."""
    if isinstance(error, IncompleteGeneration):
        return frame(ErrorBody(f"{error} stream", f"{error.error_type}_stream"))
    return frame(ErrorBody(str(error), error.error_type))


def openai_error_frame(error: RouterError) -> bytes:
    """The same on OpenAI's routes, in TGI's shape for them; DONE follows."""
    return frame(OpenAIErrorEvent(OpenAIErrorBody(str(error), error.status)))


def _plain_event() -> bytes:
    """A StreamEvent of a token and no more, with places for what differs between two of them."""
    raw: Any = msgspec.Raw
    token = TokenBody(raw(b"%d"), raw(b"%b"), raw(b"%b"), raw(b"%b"))
    return frame(StreamEvent(index=raw(b"%d"), token=token))


_PLAIN_EVENT = _plain_event()


class TokenFrames:
    """Writes the events of one `/generate_stream`, numbered from 1."""

    def __init__(self, request: ValidGenerateRequest) -> None:
        self._request = request
        self._num_events = 0

    def write(self, items: Sequence[Token | Finish]) -> bytes:
        """The events of items that came together; the Finish comes with the last token."""
        if len(items) == 1 and isinstance(items[0], Token) and not items[0].top_tokens:
            return self._plain(items[0])
        events = [self._event(item) for item in items if isinstance(item, Token)]
        if isinstance(items[-1], Finish):
            events[-1] = self._last(events[-1], items[-1])
        return b"".join([b"data: %b\n\n" % _encode(event) for event in events])

    def _plain(self, token: Token) -> bytes:
        """What nearly all events are, in a third of the time."""
        self._num_events += 1
        return _PLAIN_EVENT % (
            self._num_events,
            token.token_id,
            _encode(token.text),
            _encode(token.logprob),
            b"true" if token.is_special else b"false",
        )

    def _event(self, token: Token) -> StreamEvent:
        self._num_events += 1
        body = TokenBody(token.token_id, token.text, token.logprob, token.is_special)
        if not token.top_tokens:
            return StreamEvent(index=self._num_events, token=body)
        tops = [token_body(top) for top in token.top_tokens]
        return StreamEvent(index=self._num_events, token=body, top_tokens=tops)

    def _last(self, event: StreamEvent, finish: Finish) -> StreamEvent:
        wants_details = self._request.parameters.wants_details
        return msgspec.structs.replace(
            event,
            generated_text=self._request.full_text(finish.generated_text),
            details=stream_details(self._request, finish) if wants_details else None,
        )
