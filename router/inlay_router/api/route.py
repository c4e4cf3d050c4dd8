"""A generation route: an ASGI endpoint that gives back what a call held once it is over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from inlay_router.api.responses import error_response
from inlay_router.call import Call
from inlay_router.errors import BadRequest, RouterError
from inlay_router.service import Service

Handler = Callable[[Call], Awaitable[Response]]
"""Makes the response; what it enters into `call.resources` is held until that has been sent."""


class GenerationRoute:
    """Answers with what `handler` makes, or with the error that it raises."""

    def __init__(self, service: Service, handler: Handler) -> None:
        self._service = service
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP call. However it ends, its permits and sequences are free afterwards."""
        async with AsyncExitStack() as resources:
            request = Request(scope, receive)
            call = Call(service=self._service, request=request, resources=resources)
            resources.callback(call.end)
            try:
                resources.enter_context(self._service.departure.call())
                response = await self._handler(call)
            except ClientDisconnect:
                return
            except (RouterError, RecursionError) as fault:
                error = _nested_too_deeply() if isinstance(fault, RecursionError) else fault
                call.fail(error)
                response = error_response(
                    request, error, retry_seconds=self._service.permits.retry_seconds
                )
            await response(scope, receive, send)


def _nested_too_deeply() -> RouterError:
    """Nothing of ours recurses but over what a client nested."""
    return BadRequest("the body is nested too deeply")


class ByMethod:
    """Several methods on one path, so that a refusal names them all."""

    def __init__(self, **endpoints: ASGIApp) -> None:
        """`endpoints` are named by their methods."""
        self._endpoints = endpoints
        self.methods = list(endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; HEAD goes where GET goes."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoints[method](scope, receive, send)


@asynccontextmanager
async def until_client_leaves(call: Call) -> AsyncIterator[None]:
    """Cancel the block when the client goes away, and raise ClientDisconnect; when the time of the
    call is over, TookTooLong.

    The body must have been read: from then on, nothing but the end comes from the client.
    """
    try:
        async with asyncio.timeout_at(call.deadline) as deadline:
            watch = asyncio.create_task(_watch(call.request, deadline))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if not deadline.expired():
            raise
        if watch.done() and not watch.cancelled():
            raise ClientDisconnect from None
        raise call.too_late() from None


async def _watch(request: Request, deadline: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.reschedule(asyncio.get_running_loop().time())
