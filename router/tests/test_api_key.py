"""Who may call when the operator set a key, and from which web page."""

import asyncio

import httpx
import pytest
from scripted_router import serve

KEY = "s3cret-ключ"


def ask(
    method: str, path: str, authorization: str | None = None, api_key: str | None = KEY
) -> httpx.Response:
    async def scenario() -> httpx.Response:
        headers = {} if authorization is None else {b"authorization": authorization.encode()}
        async with serve(api_key=api_key) as edge, edge.client as client:
            field = "prompt" if path == "/v1/completions" else "inputs"
            body = {field: "a"} if method == "POST" else None
            return await client.request(method, path, headers=headers, json=body)

    return asyncio.run(scenario())


CLOSED = [
    ("POST", "/"),
    ("POST", "/generate"),
    ("POST", "/generate_stream"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/invocations"),
    ("POST", "/vertex"),
    ("POST", "/tokenize"),
    ("POST", "/chat_tokenize"),
    ("GET", "/info"),
    ("GET", "/v1/models"),
    ("GET", "/no-such-route"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nobody_gets_in_without_the_key(method: str, path: str) -> None:
    response = ask(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error_type"] == "unauthorized"


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY.upper()}"]
)
def test_another_key_is_no_key(authorization: str) -> None:
    assert ask("POST", "/generate", authorization).status_code == 401


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", f"bearer {KEY}"])
@pytest.mark.parametrize("path", ["/generate", "/v1/completions", "/tokenize"])
def test_the_key_opens(path: str, authorization: str) -> None:
    assert ask("POST", path, authorization).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/ping", "/metrics"])
def test_monitors_need_no_key(path: str) -> None:
    assert ask("GET", path).status_code == 200


def test_without_a_key_everybody_gets_in() -> None:
    assert ask("POST", "/generate", api_key=None).status_code == 200


@pytest.mark.parametrize("api_key", [None, KEY])
def test_a_browser_may_send_the_key(api_key: str | None) -> None:
    async def scenario() -> httpx.Response:
        async with serve(api_key=api_key) as edge, edge.client as client:
            headers = {
                "origin": "https://page.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type",
            }
            return await client.options("/v1/chat/completions", headers=headers)

    response = asyncio.run(scenario())
    assert response.status_code == 200
    allowed = response.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert response.headers["access-control-allow-origin"] == "*"


def test_a_page_may_read_the_headers_of_an_answer() -> None:
    async def scenario() -> httpx.Response:
        origins = ("https://page.example",)
        async with serve(cors_allow_origins=origins) as edge, edge.client as client:
            headers = {"origin": "https://page.example"}
            return await client.post("/generate", json={"inputs": "a"}, headers=headers)

    response = asyncio.run(scenario())
    assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert response.headers["access-control-expose-headers"] == "*"
