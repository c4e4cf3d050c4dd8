"""Sends spans to a collector as OTLP over HTTP, beside the requests and never in their way."""

import asyncio
import json
import logging
from collections import deque
from typing import Any, Self

import httpcore

from inlay_router.telemetry.spans import Trail, spans_of
from inlay_router.version import VERSION

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN = 2.0
_SECONDS_TO_SEND = 10.0
_MAX_WAITING = 4096
"""Spans that wait to be sent; behind them the oldest are forgotten."""


class Traces:
    """Takes trails and sends their spans every few seconds while its context lasts."""

    def __init__(self, endpoint: str, service_name: str) -> None:
        """endpoint: URL of a collector; `/v1/traces` is added when it has no path."""
        has_path = endpoint.partition("://")[2].rstrip("/").count("/") > 0
        self._url = endpoint if has_path else endpoint.rstrip("/") + "/v1/traces"
        self._service_name = service_name
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MAX_WAITING)
        self._pool = httpcore.AsyncConnectionPool(max_connections=1)
        self._has_complained = False

    def record(self, trail: Trail) -> None:
        """Keep the spans of a call until they are sent."""
        self._waiting.extend(spans_of(trail))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.flush()
        await self._pool.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN)
            await self.flush()

    async def flush(self) -> None:
        """Send what waits. What cannot be sent is dropped, with one line in the log."""
        if not self._waiting:
            return
        body = json.dumps(self._batch(list(self._waiting))).encode()
        self._waiting.clear()
        try:
            async with asyncio.timeout(_SECONDS_TO_SEND):
                reply = await self._pool.request(
                    "POST", self._url, headers={"content-type": "application/json"}, content=body
                )
            if reply.status >= 300:
                self._complain(f"the collector answers {reply.status}")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            self._complain(str(error) or type(error).__name__)
        except (TimeoutError, httpcore.UnsupportedProtocol) as error:
            self._complain(str(error) or "it takes too long")

    def _complain(self, words: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            _log.warning("traces cannot be sent to %s: %s", self._url, words)

    def _batch(self, spans: list[dict[str, Any]]) -> dict[str, Any]:
        name = {"key": "service.name", "value": {"stringValue": self._service_name}}
        scope = {"name": "inlay", "version": VERSION}
        return {
            "resourceSpans": [
                {
                    "resource": {"attributes": [name]},
                    "scopeSpans": [{"scope": scope, "spans": spans}],
                }
            ]
        }
