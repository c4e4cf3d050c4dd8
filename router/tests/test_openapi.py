"""The OpenAPI document is complete and true: generated requests get answers as described."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from scripted_router import serve
from starlette.routing import Route

from inlay_router.api.openapi import SWAGGER_UI, document
from inlay_router.api.operations import OPERATIONS
from inlay_router.links.scripted_shard import scripted_facts, spell

SCHEMA = schemathesis.openapi.from_dict(document(has_api_key=False))
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
UNDOCUMENTED = {"/docs", "/openapi.json", "/api-doc/openapi.json"}
"""What describes the routes is not described."""


class _Server(uvicorn.Server):
    """Tells its address once it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @property
    def url(self) -> str:
        port = self.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A live server in front of a scripted shard, in a thread of its own."""
    started = threading.Event()
    servers: list[_Server] = []

    async def run() -> None:
        facts = scripted_facts()
        facts.chat_template = TEMPLATE
        async with serve(spell("hello"), facts=facts, max_total_tokens=256) as edge:
            config = uvicorn.Config(edge.app, port=0, log_level="error", ws="none", lifespan="off")
            servers.append(_Server(config))
            started.set()
            await servers[0].serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(30)
    assert servers[0].is_listening.wait(30)
    yield servers[0].url
    servers[0].should_exit = True
    thread.join()


@SCHEMA.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_answers_are_as_described(case: schemathesis.Case[Any], url: str) -> None:
    # Ranges depend on the model and the operator, so a request of the right shape may be refused.
    case.call_and_validate(base_url=url, excluded_checks=[positive_data_acceptance])


def test_every_route_is_described() -> None:
    async def scenario() -> set[tuple[str, str]]:
        async with serve() as edge:
            routes = [route for route in edge.app.routes if isinstance(route, Route)]
            return {
                (method.lower(), route.path.replace(":path}", "}"))
                for route in routes
                for method in route.methods or {"GET"}
                if method != "HEAD" and route.path not in UNDOCUMENTED
            }

    described = {(operation.method, operation.path) for operation in OPERATIONS}
    assert described == asyncio.run(scenario())


def test_the_document_says_when_a_key_is_needed() -> None:
    assert "security" not in document(has_api_key=False)
    assert document(has_api_key=True)["security"] == [{"key": []}]


@pytest.mark.parametrize("path", ["/openapi.json", "/api-doc/openapi.json"])
def test_the_document_is_served(path: str, url: str) -> None:
    assert httpx.get(url + path).json() == document(has_api_key=False)


def test_the_page_needs_nothing_from_another_machine(url: str) -> None:
    page = httpx.get(f"{url}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text.replace("<!doctype", "")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"docs/{name}" in page.text
        assert httpx.get(f"{url}/docs/{name}").content == (SWAGGER_UI / name).read_bytes()


def test_an_example_can_be_sent_as_it_is(url: str) -> None:
    for path, methods in document(has_api_key=False)["paths"].items():
        if "post" in methods:
            body = methods["post"]["requestBody"]["content"]["application/json"]["example"]
            assert httpx.post(url + path, json=body).status_code == 200, path
