"""JSON answers, and the table that turns every error into one."""

import difflib
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inlay_router.errors import Leaving, Overloaded, RouterError
from inlay_router.schemas import ErrorBody, OpenAIRefusal, OpenAIRefusalBody

_MAX_WORDS = 1000
"""Characters of an error; those that quote a client are no echo for anything it sends."""
_SDK_HEADER = "x-stainless-lang"
_MAX_PATH = 60
"""Characters of an unknown path that are compared with those of the routes."""
_LIKENESS = 0.8


def json_response(
    body: object,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`body` as compact JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def error_response(request: Request, error: RouterError, *, retry_seconds: int = 1) -> Response:
    """The status and the words that `errors.py` gives to `error`; `retry_seconds` for who was
    refused for want of room."""
    headers = {"retry-after": str(retry_seconds)} if isinstance(error, Overloaded) else {}
    if isinstance(error, Leaving):
        # The next request goes to a server that stays, and may do so at once.
        headers |= {"retry-after": "1", "connection": "close"}
    return refusal(request, error.status, str(error), error.error_type, headers)


def refusal(
    request: Request,
    status: HTTPStatus,
    words: str,
    error_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in TGI's shape; in OpenAI's for OpenAI's own clients, which show no other's words.

    Those tell themselves by a header of the generator that writes them.
    """
    if len(words) > _MAX_WORDS:
        words = words[:_MAX_WORDS] + "…"
    body: object = ErrorBody(words, error_type)
    is_theirs = request.url.path.startswith("/v1/") or status is HTTPStatus.NOT_FOUND
    if is_theirs and _SDK_HEADER in request.headers:
        body = OpenAIRefusal(OpenAIRefusalBody(words, error_type))
    return json_response(body, status=status, headers=headers)


def http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown routes and wrong methods."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    words = {
        HTTPStatus.NOT_FOUND: f"no such route: {request.url.path}{_hint(request)}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not allowed on {request.url.path}",
    }
    detail = words.get(status, error.detail)
    return refusal(request, status, detail, status.name.lower(), error.headers)


def _hint(request: Request) -> str:
    """The route that was probably meant: a `/v1` may be missing, or be there twice."""
    routes = [route.path for route in request.app.routes if isinstance(route, Route)]
    path = request.url.path[:_MAX_PATH]
    if near := difflib.get_close_matches(path, routes, 1, _LIKENESS):
        return f" (is it {near[0]}?)"
    known = [route for route in routes if route.startswith("/v1/") and "{" not in route]
    return f" (there are {', '.join(known)})" if path.startswith("/v1/") else ""


def internal_error(request: Request, error: Exception) -> Response:
    """A fault of ours: its words are for the log, not for the client."""
    return refusal(request, RouterError.status, "Internal server error", RouterError.error_type)
