"""Bad input gets an error in words at once, and the stream beside it does not change."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from harness import EXAMPLES, Server, markdown, post, stream

NEIGHBOUR = markdown(EXAMPLES / "shapes.png") + "What is this a picture of?\n\n"
NOT_AN_IMAGE = "![](data:image/png;base64,bm90IGFuIGltYWdl)"

BAD: list[tuple[str, object, int, str, str]] = [
    ("malformed JSON", b'{"inputs": "hi"', 400, "bad_request", "JSON"),
    ("no inputs", {}, 422, "validation", "inputs"),
    ("empty inputs", {"inputs": ""}, 422, "validation", "`inputs` cannot be empty"),
    ("wrong type", {"inputs": 3}, 422, "validation", "inputs"),
    (
        "wrong type of a parameter",
        {"inputs": "hi", "parameters": {"max_new_tokens": "many"}},
        422,
        "validation",
        "max_new_tokens",
    ),
    (
        "temperature out of range",
        {"inputs": "hi", "parameters": {"temperature": 0}},
        422,
        "validation",
        "`temperature` must be strictly positive",
    ),
    (
        "prompt over the limit",
        {"inputs": "hello " * 100_000},
        422,
        "validation",
        "tokens",
    ),
    (
        "too many new tokens",
        {"inputs": "hi", "parameters": {"max_new_tokens": 1_000_000}},
        422,
        "validation",
        "`inputs` tokens + `max_new_tokens` must be <=",
    ),
    ("not an image", {"inputs": NOT_AN_IMAGE + "What?"}, 422, "validation", "image"),
    (
        "a truncated image",
        {"inputs": markdown(EXAMPLES / "shapes.png")[:-200] + ")What?"},
        422,
        "validation",
        "image",
    ),
    (
        "a private address",
        {"inputs": "![](http://127.0.0.1:9/a.png)What?"},
        422,
        "validation",
        "no public address",
    ),
    (
        "a scheme that is not fetched",
        {"inputs": "![](file:///etc/passwd)What?"},
        422,
        "validation",
        "image",
    ),
    (
        "an unknown grammar type",
        {"inputs": "hi", "parameters": {"grammar": {"type": "yaml", "value": "a"}}},
        422,
        "validation",
        "grammar",
    ),
    (
        "an invalid schema",
        {"inputs": "hi", "parameters": {"grammar": {"type": "json", "value": {"type": "wish"}}}},
        422,
        "validation",
        "grammar",
    ),
    (
        "an unsatisfiable schema",
        {
            "inputs": "hi",
            "parameters": {
                "grammar": {
                    "type": "json",
                    "value": {"type": "integer", "minimum": 3, "maximum": 2},
                }
            },
        },
        422,
        "validation",
        "grammar",
    ),
    (
        "an invalid regex",
        {"inputs": "hi", "parameters": {"grammar": {"type": "regex", "value": "(["}}},
        422,
        "validation",
        "grammar",
    ),
]


@pytest.fixture(scope="module")
def undisturbed(server: Server) -> list[dict[str, Any]]:
    """The neighbour's events when it is alone."""
    return list(stream(server, NEIGHBOUR, max_new_tokens=30, details=True))


@pytest.mark.parametrize("route", ["/generate", "/generate_stream", "/"])
@pytest.mark.parametrize(
    ("body", "status", "error_type", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_it_is_refused_in_words(
    server: Server, route: str, body: object, status: int, error_type: str, words: str
) -> None:
    got_status, got, _ = post(server.url + route, body)
    assert got_status == status, got
    assert got["error_type"] == error_type
    assert words in got["error"]


def test_a_neighbour_goes_on_undisturbed(server: Server, undisturbed: list[dict[str, Any]]) -> None:
    def annoy() -> None:
        for _, body, status, _, _ in BAD:
            assert post(server.url + "/generate", body)[0] == status

    def neighbours() -> Iterator[list[dict[str, Any]]]:
        while annoyer.is_alive():
            yield list(stream(server, NEIGHBOUR, max_new_tokens=30, details=True))

    annoyer = threading.Thread(target=annoy)
    annoyer.start()
    heard = [json.dumps(texts_and_ids(events)) for events in neighbours()]
    annoyer.join()
    assert heard
    assert set(heard) == {json.dumps(texts_and_ids(undisturbed))}


def texts_and_ids(events: list[dict[str, Any]]) -> list[object]:
    """What must not change: log-probabilities may move in their last digits with the batch."""
    return [(e["index"], e["token"]["id"], e["token"]["text"], e["generated_text"]) for e in events]


RUBBISH = [
    b"\x16\x03\x01\x02\x00",
    b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade, close\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
]


def test_clients_do_not_fill_the_log(server: Server) -> None:
    num_lines = len(server.lines)
    for rubbish in RUBBISH:
        assert talk(server, rubbish).startswith(b"HTTP/1.1 ")
    for _, body, status, _, _ in BAD:
        assert post(server.url + "/generate", body)[0] == status
    assert server.lines[num_lines:] == []


def talk(server: Server, said: bytes) -> bytes:
    """The beginning of what comes back."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(said)
        return connection.recv(100)


def test_unknown_routes_and_methods_are_answered_in_json(server: Server) -> None:
    assert post(server.url + "/no-such-route", {})[0] == 404
    assert post(server.url + "/info", {})[0] == 405
