"""An answer as it grows, read by the program's thread while the engine's thread fills it."""

import queue
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack, aclosing
from typing import TypeAlias

from inlay.offline.batch import failure_of
from inlay.offline.errors import EngineError
from inlay.offline.life import Life
from inlay.offline.requests import Request
from inlay_router.admission import ValidGenerateRequest
from inlay_router.errors import RouterError
from inlay_router.interleaving import interleave
from inlay_router.request import Finish, Token
from inlay_router.service import Service

Items: TypeAlias = "list[Token | Finish]"


class Stream:
    """Iterates over (place of the answer, what came of it), until all answers have their Finish.

    Raises RequestRefused or RequestFailed. Leaving it, by `close` or the context, stops what runs.
    """

    def __init__(self, life: Life, service: Service, request: Request) -> None:
        self._life = life
        self._is_closed = False
        self._arrived: queue.SimpleQueue[tuple[int, Items] | None] = queue.SimpleQueue()
        self._admitted: Future[ValidGenerateRequest] = Future()
        self._work = life.begin(self._fill(service, request))
        self._work.add_done_callback(lambda _: self._arrived.put(None))

    @property
    def request(self) -> ValidGenerateRequest:
        """As it was understood; waits until its images are prepared. Raises as iterating does."""
        try:
            return self._admitted.result()
        except CancelledError:
            raise self._failure() or EngineError("the stream is closed") from None

    def __iter__(self) -> Iterator[tuple[int, Items]]:
        while (arrival := self._arrived.get()) is not None:
            yield arrival
        if (failure := self._failure()) is not None:
            raise failure

    def close(self) -> None:
        """Stop what still runs; its blocks are free in the next step."""
        self._is_closed = True
        self._work.cancel()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _failure(self) -> BaseException | None:
        """Why it ended before its end; None for an answer that is complete."""
        try:
            return self._work.exception()
        except CancelledError:
            return EngineError("the stream is closed") if self._is_closed else self._life.end()

    async def _fill(self, service: Service, request: Request) -> None:
        try:
            async with AsyncExitStack() as streams:
                valid = await request.admit(service)
                self._admitted.set_result(valid)
                answers = [
                    await streams.enter_async_context(service.generation.stream(one))
                    for one in valid.generations
                ]
                async with aclosing(interleave(answers)) as arrivals:
                    async for arrival in arrivals:
                        self._arrived.put(arrival)
        except RouterError as error:
            raise failure_of(error, None) from error
        finally:
            if not self._admitted.done():
                self._admitted.cancel()
