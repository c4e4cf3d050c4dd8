"""Fixtures of the router's tests: a whole router over a scripted shard, driven without sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from inlay_proto import generate_pb2 as pb
from inlay_router.app import make_app
from inlay_router.batcher import BatchLimits
from inlay_router.config import RouterConfig
from inlay_router.generation import Generation
from inlay_router.links.scripted import ScriptedLink, ScriptedShard, scripted_facts
from inlay_router.service import Service, serving


@dataclass
class Exchange:
    """One HTTP call, message by message, as an ASGI server would see it."""

    app: Starlette
    path: str
    body: bytes
    method: str = "POST"
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
            "client": ("test", 1),
        }
        await self.app(scope, self._inbox.get, self._send)

    async def _send(self, message: Any) -> None:
        async with self._news:
            self.sent.append(message)
            self._news.notify_all()

    def leave(self) -> None:
        """The client goes away."""
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds`, asked whenever something was sent."""
        async with self._news:
            await self._news.wait_for(holds)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers_sent(self) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self.sent[0]["headers"]}

    @property
    def bodies(self) -> list[bytes]:
        """What each send carried."""
        return [message["body"] for message in self.sent[1:] if message["body"]]

    @property
    def text(self) -> bytes:
        return b"".join(self.bodies)


@dataclass
class Edge:
    """A router that serves."""

    app: Starlette
    link: ScriptedLink
    generation: Generation
    service: Service

    @property
    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    def open(self, path: str, body: Any, **options: Any) -> Exchange:
        """Begin a call; it runs by itself."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Exchange(self.app, path, data, **options)


Serve = Callable[..., AbstractAsyncContextManager[Edge]]


@pytest.fixture
def serve() -> Serve:
    """`async with serve() as edge:` a router over a ScriptedShard."""

    @asynccontextmanager
    async def serve(
        choose: Any = None,
        *,
        facts: pb.ModelFacts | None = None,
        grammars: Any = None,
        limits: BatchLimits | None = None,
        **config: Any,
    ) -> AsyncIterator[Edge]:
        shard = ScriptedShard(choose, facts or scripted_facts())
        link = ScriptedLink(shard)
        generation = Generation(link, limits or BatchLimits(), retry_seconds=0.001)
        settings = RouterConfig(shard_addresses=("scripted",), **config)
        try:
            await generation.start()
            async with serving(settings, generation, grammars) as service:
                yield Edge(make_app(service), link, generation, service)
        finally:
            await generation.stop()

    return serve
