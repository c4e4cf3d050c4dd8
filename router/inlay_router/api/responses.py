"""JSON answers, and the table that turns every error into one."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from inlay_router.errors import Overloaded, RouterError
from inlay_router.schemas import ErrorBody

_RETRY_SECONDS = "1"


def json_response(
    body: object,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`body` as compact JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def error_response(error: RouterError) -> Response:
    """The status and the body that `errors.py` gives to `error`."""
    headers = {"retry-after": _RETRY_SECONDS} if isinstance(error, Overloaded) else None
    body = ErrorBody(str(error), error.error_type)
    return json_response(body, status=error.status, headers=headers)


def http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown routes and wrong methods."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    words = {
        HTTPStatus.NOT_FOUND: f"no such route: {request.url.path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not allowed on {request.url.path}",
    }
    body = ErrorBody(words.get(status, error.detail), status.name.lower())
    return json_response(body, status=status, headers=error.headers)


def internal_error(request: Request, error: Exception) -> Response:
    """A fault of ours: its words are for the log, not for the client."""
    body = ErrorBody("Internal server error", RouterError.error_type)
    return json_response(body, status=RouterError.status)
