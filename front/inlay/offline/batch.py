"""Many requests at a time, their results in order."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from inlay.offline.errors import RequestFailed, RequestRefused
from inlay.offline.requests import Request
from inlay.offline.result import Result
from inlay_router.bodies import generate_all
from inlay_router.errors import GenerationFailed, IncompleteGeneration, RouterError
from inlay_router.service import Service

_PREFIX = "Input validation error: "
"""What the type of the error says already."""


async def run_batch(
    service: Service,
    requests: Sequence[Request],
    max_at_a_time: int,
    on_done: Callable[[int, Result], None] | None,
) -> list[Result]:
    """Results in the order of the requests. The first failure ends the others and is raised."""
    results: list[Result | None] = [None] * len(requests)

    async def work(waiting: Iterator[tuple[int, Request]]) -> None:
        for place, request in waiting:
            try:
                result = await answer(service, request)
            except RouterError as error:
                raise failure_of(error, place if len(requests) > 1 else None) from error
            results[place] = result
            if on_done is not None:
                on_done(place, result)

    waiting = iter(list(enumerate(requests)))
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(max_at_a_time, len(requests))):
                tasks.create_task(work(waiting))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures.exceptions[0].__cause__
    return [result for result in results if result is not None]


async def answer(service: Service, request: Request) -> Result:
    """Raises RouterErrors."""
    valid = await request.admit(service)
    return Result(valid, tuple(await generate_all(service.generation, valid)))


def failure_of(error: RouterError, place: int | None) -> Exception:
    """In a program's words; `place` is that of the request, if there are several."""
    words = str(error).removeprefix(_PREFIX)
    words = words if place is None else f"request {place}: {words}"
    if isinstance(error, (GenerationFailed, IncompleteGeneration)):
        return RequestFailed(words)
    return RequestRefused(words)
