"""A load client that costs little: it notes when bytes come and reads them only afterwards."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

EVENT = b"data:"


class StreamFailed(Exception):
    """A stream brought an error, or no answer; the message is what came."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One answer of `/generate_stream`; times are seconds since all streams were asked."""

    first_token_seconds: float
    last_token_seconds: float
    token_ids: tuple[int, ...]
    text: str


async def ask_together(
    host: str, port: int, inputs: Sequence[str], num_new_tokens: int
) -> list[Stream]:
    """Open one connection for each of `inputs` at once, and wait for all answers.

    Raises StreamFailed and OSError.
    """
    requests = [encode_request(host, text, num_new_tokens) for text in inputs]
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    connecting = [
        loop.create_connection(lambda request=request: Receiver(request), host, port)  # type: ignore[misc]
        for request in requests
    ]
    receivers = [receiver for _transport, receiver in await asyncio.gather(*connecting)]
    await asyncio.gather(*(receiver.closed for receiver in receivers))
    return [receiver.stream(start) for receiver in receivers]


def encode_request(host: str, text: str, num_new_tokens: int) -> bytes:
    """One whole HTTP request, greedy."""
    parameters = {"max_new_tokens": num_new_tokens, "do_sample": False}
    body = msgspec.json.encode({"inputs": text, "parameters": parameters})
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
        self._first_token_time = 0.0
        self._last_token_time = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request at once."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Called for each event of each stream: no parsing here."""
        self._received.append(data)
        if EVENT in data:
            self._last_token_time = time.perf_counter()
            if not self._first_token_time:
                self._first_token_time = self._last_token_time

    def connection_lost(self, error: Exception | None) -> None:
        """Wakes up whoever waits for the answer."""
        if not self.closed.done():
            self.closed.set_result(None)

    def stream(self, start: float) -> Stream:
        """What came, read now. Raises StreamFailed."""
        token_ids, text = read_answer(b"".join(self._received))
        return Stream(
            first_token_seconds=self._first_token_time - start,
            last_token_seconds=self._last_token_time - start,
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
