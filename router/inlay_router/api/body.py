"""Reads the body of a request: declared as JSON, within its limit, of the right shape."""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request

from inlay_router.api.neutral import asks_for_nothing
from inlay_router.call import Call
from inlay_router.errors import (
    BadRequest,
    BodyTooSlow,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationError,
)

T = TypeVar("T")

_JSON_TYPE = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_NUM_QUOTED = 60

MAX_CONTAINERS = 100_000
"""Arrays and objects in a body, by their brackets, those in texts included. Each costs hundreds of
bytes once it is read, and all of them are read at once."""
MAX_VALUES = 1_000_000
"""Values in a body, by the commas between them, those in texts included."""
BODY_SECONDS = 60.0
"""A client that takes longer to send a body than this holds its connection for nothing."""


async def body_of(call: Call, kind: type[T]) -> T:
    """The body of a call, which counts among the bytes of all calls. Raises as `read_body`."""
    limit = call.service.config.payload_limit
    return await read_body(call.request, kind, limit, take_bytes=call.take_bytes)


async def read_body(
    request: Request,
    kind: type[T],
    limit: int,
    timeout: float = BODY_SECONDS,  # noqa: ASYNC109 (of the whole body, and with its own error)
    take_bytes: Callable[[int], None] = lambda _: None,
) -> T:
    """The body as a `kind`, of at most `limit` bytes, within `timeout` seconds.

    `take_bytes` is told of bytes as they come, and may refuse them. Raises RouterErrors, and
    Starlette's ClientDisconnect when the client leaves.
    """
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "").strip()):
        raise UnsupportedMediaType("Expected request with `Content-Type: application/json`")
    if (coding := request.headers.get("content-encoding", "identity")).lower() != "identity":
        raise UnsupportedMediaType(
            f"The request body must not be compressed. Given: `Content-Encoding: {coding[:40]}`"
        )
    try:
        async with asyncio.timeout(timeout):
            data = await _read(request, limit, take_bytes)
    except TimeoutError:
        raise BodyTooSlow(timeout) from None
    return parse(data, kind)


def parse(data: bytes, kind: type[T]) -> T:
    """JSON text as a `kind`. Raises BadRequest when it is not JSON, else ValidationError."""
    _check_counts(data)
    try:
        return _decode(data, kind)
    except msgspec.ValidationError as error:
        raise ValidationError(_explain(str(error), data)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"Failed to parse the request body as JSON: {error}") from None
    except RecursionError:
        raise BadRequest(
            "Failed to parse the request body as JSON: it is nested too deeply"
        ) from None


def _check_counts(data: bytes) -> None:
    """Raises ValidationError for more values than any request needs, before they are read."""
    num_containers = data.count(b"{") + data.count(b"[")
    if num_containers > MAX_CONTAINERS:
        raise ValidationError(
            f"the body may hold up to {MAX_CONTAINERS} arrays and objects. Given: {num_containers}"
        )
    num_values = data.count(b",") + 1
    if num_values > MAX_VALUES:
        raise ValidationError(f"the body may hold up to {MAX_VALUES} values. Given: {num_values}")


def _decode(data: bytes, kind: type[T]) -> T:
    """A key that nobody knows is taken where its value asks for nothing."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        if "unknown field" not in str(error):
            raise
        return msgspec.json.decode(_without_defaults(data), type=kind)


def _without_defaults(data: bytes) -> bytes:
    """The object, and the `parameters` in it, without the keys that ask for nothing."""
    fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    asked = {
        name: bytes(value) for name, value in fields.items() if not asks_for_nothing(name, value)
    }
    if asked.get("parameters", b"").startswith(b"{"):
        asked["parameters"] = _without_defaults(asked["parameters"])
    return msgspec.json.encode({name: msgspec.Raw(value) for name, value in asked.items()})


async def _read(request: Request, limit: int, take_bytes: Callable[[int], None]) -> bytes:
    """The bytes, refused as soon as they are too many."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit, declared[:20])
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise _too_large(limit, f"at least {len(body)}")
        take_bytes(len(part))
    return bytes(body)


def _too_large(limit: int, given: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body must have at most {limit} bytes. Given: {given}")


def _explain(words: str, data: bytes) -> str:
    """msgspec's words, with the path in front and the value behind.

    "Expected `int`, got `str` - at `$.parameters.top_k`" becomes
    "`parameters.top_k`: expected `int`, got `str`. Given: "many"".
    """
    problem, _, path = words.partition(" - at `$")
    problem = problem[:1].lower() + problem[1:]
    path = path.removesuffix("`").removeprefix(".")
    if not path:
        return problem
    return f"`{path}`: {problem}.{_given(data, path)}"


def _given(data: bytes, path: str) -> str:
    """The value at a path like `parameters.stop[1]`, shortened, in words."""
    try:
        value = msgspec.json.decode(data)
        for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            value = value[int(index)] if index else value[key]
        text = msgspec.json.encode(value).decode()
    except (LookupError, TypeError, ValueError, RecursionError):
        return ""  # the rest of the body is not JSON, or the path is not ours to follow
    return f" Given: {text if len(text) <= _NUM_QUOTED else text[:_NUM_QUOTED] + '…'}"
