"""Reads several answers at a time, as their items come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from inlay_router.request import Finish, Token
from inlay_router.text.answer import Answer


async def interleave(
    answers: Sequence[Answer],
) -> AsyncGenerator[tuple[int, list[Token | Finish]], None]:
    """The place of an answer in `answers`, and what came of it; until all are over.

    Raises the first error of any. Close it to stop reading.
    """
    if len(answers) == 1:  # the common case needs no tasks
        while items := await answers[0].read():
            yield 0, items
        return
    reading = {asyncio.create_task(answer.read()): place for place, answer in enumerate(answers)}
    try:
        while reading:
            done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                place = reading.pop(task)
                if items := task.result():
                    reading[asyncio.create_task(answers[place].read())] = place
                    yield place, items
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
