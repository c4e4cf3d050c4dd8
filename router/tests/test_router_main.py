"""The router as a process: its ready line, its exit codes, its end."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from listening_shard import Context, ListeningShard, listening

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import ScriptedShard, spell


class PausingShard(ListeningShard):
    """Waits with the next step while `goes_on` is not set."""

    def __init__(self) -> None:
        super().__init__(ScriptedShard(spell("a" * 50)))
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def results(
        self, steps: AsyncIterator[pb.Step], context: Context
    ) -> AsyncGenerator[pb.StepResult, None]:
        """See ListeningShard."""
        await context.send_initial_metadata(())
        async for step in steps:
            yield self.shard.run(step)
            await self.goes_on.wait()


@asynccontextmanager
async def shard(folder: Path) -> AsyncIterator[tuple[PausingShard, str]]:
    """A shard, and its address."""
    pausing, address = PausingShard(), f"unix:{folder}/shard.sock"
    async with listening(pausing, address):
        yield pausing, address


@asynccontextmanager
async def router(address: str, *arguments: str) -> AsyncIterator[Process]:
    """A router process without grammars, which take a second to start."""
    command = ["-m", "inlay_router", "--shard-address", address, "--disable-grammar-support"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: Process) -> str:
    """The URL of the ready line, which is the first that a router prints."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("inlay is ready: http://")
    return line.removeprefix("inlay is ready: ").strip()


def test_it_answers_once_it_says_that_it_is_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as (_, address),
            router(address, "--port", "0") as process,
            httpx.AsyncClient(base_url=await ready(process)) as client,
        ):
            response = await client.post("/generate", json={"inputs": "x"})
            assert response.json() == {"generated_text": "a" * 50}
            assert (await client.get("/health")).status_code == 200

    asyncio.run(scenario())


def test_a_connection_is_kept_open_for_as_long_as_was_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as (_, address),
            router(address, "--port", "0", "--keep-alive-timeout", "0.01") as process,
            asyncio.timeout(30),  # by default it would be 75
        ):
            url = httpx.URL(await ready(process))
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            writer.close()

    asyncio.run(scenario())


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """A router in the midst of an answer, whose shard waits before the next token."""

    shard: PausingShard
    process: Process
    client: httpx.AsyncClient
    lines: AsyncIterator[str]

    def go_on(self) -> None:
        """Let the shard answer."""
        self.shard.goes_on.set()

    async def not_ready(self) -> None:
        """Return once the router has heard that it shall leave."""
        while (await self.client.get("/health?ready")).status_code != 503:
            pass

    async def last_event(self) -> str:
        """Of the stream."""
        events = [line async for line in self.lines if line]
        return events[-1]


@asynccontextmanager
async def streaming(folder: Path, *arguments: str) -> AsyncIterator[Streaming]:
    """A stream behind its first token. The router has ended with exit code 0 when this is left."""
    async with (
        shard(folder) as (pausing, address),
        router(address, "--port", "0", *arguments) as process,
    ):
        pausing.goes_on.clear()
        async with (
            httpx.AsyncClient(base_url=await ready(process)) as client,
            client.stream("POST", "/generate_stream", json={"inputs": "x"}) as stream,
        ):
            lines = stream.aiter_lines()
            assert '"index":1' in await anext(lines)
            yield Streaming(shard=pausing, process=process, client=client, lines=lines)
        assert await process.wait() == 0


def test_a_signal_lets_streams_end_and_then_the_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path, "--exit-with-parent") as running:
            running.process.send_signal(signal.SIGTERM)
            running.go_on()
            assert '"generated_text":"aaaaa' in await running.last_event()
            assert running.process.stderr is not None
            (words,) = (await running.process.stderr.read()).splitlines()
            assert words.startswith(b"inlay router: KV cache: ")

    asyncio.run(scenario())


def test_nobody_is_let_in_while_streams_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path) as running:
            running.process.send_signal(signal.SIGTERM)
            await running.not_ready()
            assert (await running.client.get("/health")).status_code == 200
            late = await running.client.post("/generate", json={"inputs": "x"})
            assert (late.status_code, late.headers["retry-after"]) == (429, "1")
            running.go_on()
            assert '"generated_text":"aaaaa' in await running.last_event()

    asyncio.run(scenario())


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_streams_with_an_error(tmp_path: Path, second: signal.Signals) -> None:
    async def scenario() -> None:
        async with streaming(tmp_path) as running:
            running.process.send_signal(signal.SIGINT)
            await running.not_ready()
            running.process.send_signal(second)
            words = await running.last_event()
            assert '"error_type":"incomplete_generation_stream"' in words

    asyncio.run(scenario())


def test_it_ends_with_its_parent_when_told_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as (_, address),
            router(address, "--port", "0", "--exit-with-parent") as process,
        ):
            await ready(process)
            assert process.stdin is not None
            process.stdin.close()
            assert await process.wait() == 0

    asyncio.run(scenario())


def test_a_socket_may_be_handed_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with shard(tmp_path) as (_, address):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "inlay_router", "--shard-address", address),
                    *("--disable-grammar-support", "--listen-fd", str(listener.fileno())),
                    pass_fds=[listener.fileno()],
                    stdout=PIPE,
                )
                url = await ready(process)
                assert url.endswith(f":{listener.getsockname()[1]}")
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0

    asyncio.run(scenario())


def ended(*arguments: str) -> tuple[int | None, str]:
    """Exit code and last words of a router that does not start."""

    async def scenario() -> tuple[int | None, str]:
        async with router(*arguments) as process:
            _, words = await process.communicate()
            return process.returncode, words.decode()

    return asyncio.run(scenario())


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code, words = ended("unix:/nowhere", "--port", str(port))
    assert exit_code == 1
    assert words == (
        f"inlay router: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
def test_a_host_that_is_not_ours_is_one_clear_line(host: str) -> None:
    exit_code, words = ended("unix:/nowhere", "--host", host)
    assert exit_code == 1
    assert words.startswith(f"inlay router: cannot listen on {host} port 3000: ")
    assert words.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--api-key-file", "/nowhere"),
        ("--allowed-local-images", "/nowhere"),
        ("--otlp-endpoint", "nowhere"),
        ("--tls-cert", "/nowhere"),
    ],
)
def test_what_no_model_can_mend_is_refused_before_one_answers(flag: str, value: str) -> None:
    exit_code, words = ended("unix:/nowhere", flag, value)
    assert exit_code == 78
    assert words.startswith(f"inlay router: {flag}")
    assert words.count("\n") == 1


def test_limits_that_do_not_fit_the_model_are_one_clear_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as (_, address),
            router(address, "--port", "0", "--max-total-tokens", "5000") as process,
        ):
            _, words = await process.communicate()
            assert process.returncode == 78
            assert words.startswith(b"inlay router: --max-total-tokens must be <= 1024: ")

    asyncio.run(scenario())
