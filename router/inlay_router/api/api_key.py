"""Lets only clients in that know one of the operator's keys."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from inlay_router.api.responses import refusal
from inlay_router.doors.api_keys import ApiKeys

_OPEN_PATHS = frozenset(
    {"/health", "/ping", "/metrics", "/docs", "/openapi.json", "/api-doc/openapi.json"}
)
_OPEN_PREFIX = "/docs/"


class ApiKeyGate:
    """An ASGI layer that asks for `Authorization: Bearer KEY`, but for what monitors and browsers
    read: health, metrics and documentation."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401."""
        request = Request(scope)
        if _is_open(scope) or self._is_known(request):
            await self._app(scope, receive, send)
            return
        words = "the `Authorization` header must be `Bearer` and a key"
        headers = {"www-authenticate": "Bearer"}
        response = refusal(request, HTTPStatus.UNAUTHORIZED, words, "unauthorized", headers)
        await response(scope, receive, send)

    def _is_known(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        # Starlette reads headers as Latin-1, which gives back the bytes that came.
        is_known = self._keys.know(key.strip().encode("latin-1"))
        return scheme.lower() == "bearer" and is_known


def _is_open(scope: Scope) -> bool:
    path = scope["path"]
    is_health = path == "/" and scope["method"] in ("GET", "HEAD")
    return is_health or path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX)
