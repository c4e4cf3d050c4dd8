"""The thread of an engine: an event loop that serves from the model's loading to the end."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from inlay.offline.errors import EngineError
from inlay_router.service import Service

T = TypeVar("T")
Serving = Callable[[], AbstractAsyncContextManager[Service]]


class Life:
    """Runs coroutines for other threads while a service lasts.

    It knows nothing of the engine that uses it, so that an engine that nobody needs any more can
    be collected, and its life ended.
    """

    def __init__(self, serving: Serving) -> None:
        """`serving` is entered and left on the thread."""
        self._serving = serving
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
        self._service: Future[Service] = Future()
        self._is_leaving = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="inlay", daemon=True)

    def start(self) -> Service:
        """The service, once it is there. Raises what starting it raised."""
        self._thread.start()
        try:
            return self._service.result()
        except BaseException:
            self.stop()
            raise

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop. Raises EngineError when there is none any more."""
        loop, _ = self._begun.result()
        if self._is_leaving or not self._thread.is_alive():
            work.close()
            raise self.end()
        return asyncio.run_coroutine_threadsafe(work, loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives. An interrupt, such as Ctrl-C, cancels it and is raised."""
        future = self.begin(work)
        try:
            return future.result()
        except CancelledError:
            raise self.end() from None
        except BaseException:
            future.cancel()
            raise

    def end(self) -> EngineError:
        """Why nothing runs any more."""
        if self._failure is None:
            return EngineError("the engine is closed")
        return EngineError(f"the engine has stopped: {self._failure}")

    def stop(self) -> None:
        """Leave, and wait until everything is given back. May be called again."""
        loop, task = self._begun.result()
        if not self._is_leaving and self._thread.is_alive():
            self._is_leaving = True
            loop.call_soon_threadsafe(task.cancel)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        """On the thread, as everything below. The loop is asyncio's own: uvloop starts processes by
        fork, in which this program's libraries run code of theirs, and may wait for ever."""
        try:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self._live())
        except asyncio.CancelledError:
            pass
        except BaseException as failure:
            self._failure = _only(failure)
        if not self._service.done():
            self._service.set_exception(self._failure or self.end())

    async def _live(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._begun.set_result((asyncio.get_running_loop(), task))
        async with self._serving() as service:
            self._service.set_result(service)
            await asyncio.get_running_loop().create_future()


def _only(failure: BaseException) -> BaseException:
    """What is inside groups of one."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure
