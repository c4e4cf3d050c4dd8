"""A whole router over a scripted shard, driven message by message without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette

from inlay_grammars.spec import GrammarSpec
from inlay_grammars.verdict import Verdict
from inlay_proto import generate_pb2 as pb
from inlay_router.app import make_app
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.generation import Generation
from inlay_router.config import RouterConfig
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import Choose, ScriptedShard, scripted_facts, spell
from inlay_router.service import Service, serving


@dataclass
class Exchange:
    """One HTTP call, message by message, as an ASGI server would see it."""

    app: Starlette
    path: str
    body: bytes
    method: str = "POST"
    host: str = "test"
    """Address of the client."""
    headers: list[tuple[bytes, bytes]] = field(
        default_factory=lambda: [(b"content-type", b"application/json")]
    )

    def __post_init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Condition()
        self._inbox.put_nowait({"type": "http.request", "body": self.body, "more_body": False})
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": self.headers,
            "server": ("test", 80),
            "client": (self.host, 1),
        }
        await self.app(scope, self._inbox.get, self.send)

    async def send(self, message: Any) -> None:
        """What the application calls; a test may put something slower in its place."""
        async with self._news:
            self.sent.append(message)
            self._news.notify_all()

    def leave(self) -> None:
        """The client goes away."""
        self._inbox.put_nowait({"type": "http.disconnect"})

    def withdraw_body(self) -> None:
        """The body has not come yet: only its first byte has."""
        self._inbox.get_nowait()
        self._inbox.put_nowait({"type": "http.request", "body": b"{", "more_body": True})

    async def until_sent(self, num_messages: int) -> None:
        """Wait until that many messages went to the client, the headers among them."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.sent) >= num_messages)

    @property
    def status(self) -> int:
        """Of the response."""
        return int(self.sent[0]["status"])

    @property
    def bodies(self) -> list[bytes]:
        """What each send carried."""
        return [message["body"] for message in self.sent[1:] if message["body"]]

    @property
    def text(self) -> bytes:
        """All that was sent."""
        return b"".join(self.bodies)


@dataclass
class Edge:
    """A router that serves."""

    app: Starlette
    link: ScriptedLink
    generation: Generation
    service: Service

    def is_idle(self) -> bool:
        """Whether no call holds anything: no block, no place in the queue, no permit."""
        stats = self.generation.stats
        is_free = stats.num_blocks_used == stats.num_running == stats.num_waiting == 0
        return is_free and repr(self.service.permits).startswith("Permits(0 of")

    @property
    def client(self) -> httpx.AsyncClient:
        """A client that gets each answer whole."""
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    def open(self, path: str, body: Any, **options: Any) -> Exchange:
        """Begin a call; it runs by itself."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Exchange(self.app, path, data, **options)


class Hanging:
    """Something to wait for that never comes, and notices when nobody waits any more."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, *_: object) -> None:
        """Wait until it is cancelled."""
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    check = __call__
    """So that it may stand for a CompilePool."""


class AcceptingGrammars:
    """Accepts every grammar with one verdict, and keeps what it was asked about."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self.specs: list[GrammarSpec] = []
        self._verdict = verdict or Verdict()

    async def check(self, spec: GrammarSpec) -> Verdict:
        """See CompilePool."""
        self.specs.append(spec)
        return self._verdict


@asynccontextmanager
async def serve(
    choose: Choose | None = None,
    *,
    facts: pb.ModelFacts | None = None,
    grammars: Any = None,
    limits: BatchLimits | None = None,
    **config: Any,
) -> AsyncIterator[Edge]:
    """A router with the settings `config` over a shard that answers with `choose`.

    `grammars` has an async method `check`, as a CompilePool has.
    """
    link = ScriptedLink(ScriptedShard(choose, facts or scripted_facts()))
    generation = Generation(link, limits or BatchLimits(), retry_seconds=0.001)
    settings = RouterConfig(shard_addresses=("scripted",), **config)
    try:
        await generation.start()
        async with serving(settings, generation, grammars) as service:
            yield Edge(make_app(service), link, generation, service)
    finally:
        await generation.stop()


def post(path: str, body: Any, choose: Choose | None = None, **config: Any) -> httpx.Response:
    """The response to one call on a fresh router, which has given back all that the call held.

    `config` is what `serve` takes.
    """

    async def scenario() -> httpx.Response:
        async with serve(choose or spell("Hi"), **config) as edge, edge.client as client:
            response = await client.post(path, json=body)
            assert edge.is_idle()
            return response

    return asyncio.run(scenario())


def events(response: httpx.Response) -> list[Any]:
    """The events of a stream in OpenAI's form, without its end mark."""
    *frames, end, rest = response.text.split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until `holds`, asked each time that the loop has gone round."""
    for _ in range(100_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")
