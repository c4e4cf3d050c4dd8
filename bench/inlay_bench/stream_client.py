"""A load client that costs little: it notes when bytes come and reads them only afterwards."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

EVENT = b"data:"


class StreamFailed(Exception):
    """A stream brought an error, or no answer; the message is what came."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One answer of `/generate_stream`; times are seconds since all streams were asked."""

    arrivals: tuple[float, ...]
    """When each event was there."""
    token_ids: tuple[int, ...]
    text: str

    @property
    def first_token_seconds(self) -> float:
        """When the first event was there."""
        return self.arrivals[0]

    @property
    def last_token_seconds(self) -> float:
        """When the last event was there."""
        return self.arrivals[-1]


async def ask_together(
    host: str,
    port: int,
    inputs: Sequence[str],
    num_new_tokens: int,
    parameters: Mapping[str, object] | None = None,
) -> list[Stream]:
    """Open one connection for each of `inputs` at once, and wait for all answers.

    `parameters` come on top of the number of tokens. Raises StreamFailed and OSError.
    """
    requests = [encode_request(host, text, num_new_tokens, parameters or {}) for text in inputs]
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    connecting = [
        loop.create_connection(lambda request=request: Receiver(request), host, port)  # type: ignore[misc]
        for request in requests
    ]
    receivers = [receiver for _transport, receiver in await asyncio.gather(*connecting)]
    await asyncio.gather(*(receiver.closed for receiver in receivers))
    return [receiver.stream(start) for receiver in receivers]


def encode_request(
    host: str, text: str, num_new_tokens: int, parameters: Mapping[str, object]
) -> bytes:
    """One whole HTTP request, greedy."""
    basics = {"max_new_tokens": num_new_tokens, "do_sample": False}
    body = msgspec.json.encode({"inputs": text, "parameters": {**basics, **parameters}})
    head = (
        f"POST /generate_stream HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Receiver(asyncio.Protocol):
    """Sends one request and keeps what comes back until the connection closes."""

    def __init__(self, request: bytes) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._received: list[bytes] = []
        self._arrivals: list[float] = []
        self._awaited: tuple[int, asyncio.Future[None]] | None = None

    @property
    def arrivals(self) -> Sequence[float]:
        """When each event so far was there: `time.perf_counter()` seconds."""
        return self._arrivals

    @property
    def response(self) -> bytes:
        """What came so far."""
        return b"".join(self._received)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request at once."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def hang_up(self) -> None:
        """Want no more of the answer."""
        self._transport.abort()

    async def until(self, num_events: int) -> None:
        """Until so many events are there, or the connection is closed; for one waiter at a time.

        Whoever looked again and again would take time from what he measures.
        """
        if len(self._arrivals) >= num_events or self.closed.done():
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited = (num_events, reached)
        await reached

    def data_received(self, data: bytes) -> None:
        """Called for each event of each stream: no parsing here."""
        now = time.perf_counter()
        self._received.append(data)
        self._arrivals += [now] * data.count(EVENT)
        if self._awaited is not None and len(self._arrivals) >= self._awaited[0]:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Wakes up whoever waits for the answer."""
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_result(None)
        self._awaited = None

    def stream(self, start: float) -> Stream:
        """What came, read now. Raises StreamFailed."""
        token_ids, text = read_answer(self.response)
        return Stream(
            arrivals=tuple(arrival - start for arrival in self._arrivals),
            token_ids=token_ids,
            text=text,
        )


def read_answer(response: bytes) -> tuple[tuple[int, ...], str]:
    """Token ids and generated text of a whole HTTP response. Raises StreamFailed."""
    head, _, body = response.partition(b"\r\n\r\n")
    status_line, *header_lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in header_lines:
        body = join_chunks(body)
    if not status_line.startswith(b"http/1.1 200"):
        raise StreamFailed(f"{status_line.decode()}: {body.decode()}")
    events = read_events(body)
    if not events or events[-1].get("generated_text") is None:
        raise StreamFailed(f"the last event has no generated_text: {body[-300:].decode()}")
    return tuple(event["token"]["id"] for event in events), events[-1]["generated_text"]


def read_token_ids(response: bytes) -> tuple[int, ...]:
    """Token ids of an answer that was hung up: of the events that are there whole.

    Raises StreamFailed for an error, or a status other than 200.
    """
    head, _, body = response.partition(b"\r\n\r\n")
    if not head.lower().startswith(b"http/1.1 200"):
        raise StreamFailed(response.decode(errors="replace"))
    if b"transfer-encoding: chunked" in head.lower():
        body = join_chunks(body)
    whole = body[: body.rfind(b"\n\n") + 1]
    return tuple(event["token"]["id"] for event in read_events(whole))


def join_chunks(body: bytes) -> bytes:
    """The content of a chunked body (RFC 9112, section 7.1)."""
    contents = []
    while b"\r\n" in body:
        size_line, _, rest = body.partition(b"\r\n")
        size = int(size_line.split(b";")[0], 16)
        contents.append(rest[:size])
        body = rest[size + 2 :]
    return b"".join(contents)


def read_events(body: bytes) -> list[dict[str, Any]]:
    """The JSON of every event. Raises StreamFailed for an error event."""
    lines = [line for line in body.splitlines() if line.startswith(EVENT)]
    events = [msgspec.json.decode(line.removeprefix(EVENT)) for line in lines]
    for event in events:
        if "error" in event:
            raise StreamFailed(event["error"])
    return events
