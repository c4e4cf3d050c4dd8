"""Pieces of a body that are written past uvicorn's `send`."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from scripted_router import eventually, serve
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from inlay_router.doors.connection import Connection, ConnectionLimits, HttpConfig
from inlay_router.doors.response_body import Outbox, ResponseBody
from inlay_router.links.scripted_shard import scripted_facts, spell
from inlay_router.sse import DirectSend

START = {"type": "http.response.start", "status": 200, "headers": []}
TEXT = "What is sent past the layers is what would be sent through them."


class Wire:
    """A transport that notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See asyncio.Transport."""
        self.written.append(data)


def a_cycle(wire: Wire) -> RequestResponseCycle:
    transport = cast(asyncio.Transport, wire)
    return RequestResponseCycle(
        scope=cast(Any, {"method": "POST"}),
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger(__name__),
        access_logger=logging.getLogger(__name__),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )


def body_of(cycle: RequestResponseCycle) -> ResponseBody:
    body = ResponseBody.behind(cast(Any, cycle.send), Outbox())
    assert body is not None
    return body


async def send(cycle: RequestResponseCycle, data: bytes, *, is_last: bool = False) -> None:
    await cycle.send({"type": "http.response.body", "body": data, "more_body": not is_last})


def test_a_piece_is_written_as_uvicorn_writes_it_behind_what_it_wrote() -> None:
    async def main() -> None:
        wire = Wire()
        cycle = a_cycle(wire)
        write = body_of(cycle).writer(lambda data: data)
        await cycle.send(cast(Any, START))
        assert write(b"data: 1\n\n")
        await asyncio.sleep(0)
        await send(cycle, b"data: 1\n\n")
        assert wire.written[1] == wire.written[2] == b"9\r\ndata: 1\n\n\r\n"

    asyncio.run(main())


def test_no_piece_is_taken_but_between_head_and_end_from_a_client_that_keeps_up() -> None:
    async def main() -> None:
        cycle = a_cycle(Wire())
        encoded: list[bytes] = []

        def encode(data: bytes) -> bytes:
            encoded.append(data)
            return data

        write = body_of(cycle).writer(encode)
        assert not write(b"before the head")
        await cycle.send(cast(Any, START))
        assert write(b"1")
        cycle.flow.pause_writing()
        assert not write(b"while the client is behind")
        cycle.flow.resume_writing()
        assert write(b"2")
        await send(cycle, b"", is_last=True)
        assert not write(b"behind the end")
        assert encoded == [b"1", b"2"]

    asyncio.run(main())


def test_nothing_is_written_where_there_is_nothing_to_say() -> None:
    async def main() -> None:
        wire = Wire()
        cycle = a_cycle(wire)
        write = body_of(cycle).writer(lambda data: data)
        await cycle.send(cast(Any, START))
        assert write(b"")
        await asyncio.sleep(0)
        assert len(wire.written) == 1

    asyncio.run(main())


def test_nothing_is_encoded_for_a_client_that_left() -> None:
    async def main() -> None:
        cycle = a_cycle(Wire())
        write = body_of(cycle).writer(bytes.upper)
        await cycle.send(cast(Any, START))
        cycle.disconnected = True
        assert not write(b"a")

    asyncio.run(main())


def test_a_piece_for_a_client_that_left_meanwhile_is_dropped() -> None:
    async def main() -> None:
        gone, there = Wire(), Wire()
        outbox = Outbox()
        cycle = a_cycle(gone)
        outbox.put(cycle, b"a")
        outbox.put(a_cycle(there), b"b")
        cycle.disconnected = True
        await asyncio.sleep(0)
        assert (gone.written, there.written) == ([], [b"b"])

    asyncio.run(main())


def test_another_server_has_no_such_body() -> None:
    async def send_elsewhere(message: Any) -> None:
        """Of a server that is not uvicorn."""

    assert ResponseBody.behind(send_elsewhere, Outbox()) is None


@asynccontextmanager
async def a_server(app: Any) -> AsyncIterator[int]:
    limits = ConnectionLimits(max_connections=2)
    config = HttpConfig(app, limits, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}, loop), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await eventually(lambda: not state.connections and not state.tasks)


async def ask(app: Any, path: str, body: bytes) -> bytes:
    async with a_server(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST %b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n" % path.encode()
        writer.write(head + b"content-type: application/json\r\n")
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


def events_of(answer: bytes) -> list[str]:
    """Every event without what differs from call to call; those of a choice together."""
    chunks = answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
    text = re.sub(r'("id":"|"created":)[^",]*', "", b"".join(chunks).decode())
    return sorted(text.split("\n\n"), key=lambda event: '"index":1,' in event)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate_stream", b'{"inputs":"a","parameters":{"max_new_tokens":99,"details":true}}'),
        ("/v1/completions", b'{"prompt":"a","max_tokens":99,"stream":true}'),
        (
            "/v1/chat/completions",
            b'{"messages":[{"role":"user","content":"a"}],"max_tokens":99,"stream":true}',
        ),
    ],
)
def test_every_event_comes_once_and_in_order(
    path: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_direct = 0
    put = Outbox.put

    def counting(self: Outbox, cycle: RequestResponseCycle, piece: bytes) -> None:
        nonlocal num_direct
        num_direct += 1
        put(self, cycle, piece)

    monkeypatch.setattr(Outbox, "put", counting)

    async def main() -> tuple[list[str], list[str]]:
        facts = scripted_facts()
        facts.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
        async with serve(spell(TEXT), facts=facts) as edge:
            direct = events_of(await ask(DirectSend(edge.app), path, body))
            return direct, events_of(await ask(edge.app, path, body))

    direct, through_layers = asyncio.run(main())
    assert num_direct > len(TEXT) / 2
    assert direct == through_layers
