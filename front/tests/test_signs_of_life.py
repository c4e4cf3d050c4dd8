"""A pipe that goes quiet is noticed, and one that does not is not."""

import asyncio
import os
import subprocess
import sys

import pytest

from inlay.signs_of_life import SignsOfLife
from inlay_proto import heartbeat


def test_silence_is_noticed() -> None:
    async def main() -> None:
        signs = SignsOfLife()
        await asyncio.wait_for(signs.until_silent(0.01, first_seconds=0.01), timeout=30)
        os.close(signs.writing)
        signs.close()

    asyncio.run(main())


def test_the_first_sign_may_take_longer() -> None:
    async def main() -> None:
        signs = SignsOfLife()
        waiting = asyncio.create_task(signs.until_silent(0.01, first_seconds=30.0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        os.write(signs.writing, b".")
        await asyncio.wait_for(waiting, timeout=20)
        os.close(signs.writing)
        signs.close()

    asyncio.run(main())


def test_a_sign_starts_the_time_anew() -> None:
    async def main() -> None:
        signs = SignsOfLife()
        waiting = asyncio.create_task(signs.until_silent(30.0, first_seconds=30.0))
        for _ in range(3):
            os.write(signs.writing, b".")
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        os.close(signs.writing)
        signs.close()

    asyncio.run(main())


def test_the_end_of_the_pipe_keeps_nobody_busy() -> None:
    async def main() -> None:
        signs = SignsOfLife()
        os.close(signs.writing)
        await asyncio.wait_for(signs.until_silent(0.01, first_seconds=0.01), timeout=30)
        assert not asyncio.get_running_loop().remove_reader(signs._reading)
        signs.close()

    asyncio.run(main())


def test_a_process_beats_only_for_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(heartbeat.VARIABLE, raising=False)

    async def main() -> None:
        async with heartbeat.beating():
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_thread_beats_too() -> None:
    """In a process of its own: the thread never ends, and knows its pipe by number."""
    reading, writing = os.pipe()
    code = "from inlay_proto.heartbeat import beat_on_thread; beat_on_thread(); input()"
    variables = os.environ | {heartbeat.VARIABLE: str(writing)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=variables, pass_fds=[writing], stdin=subprocess.PIPE) as own:
        assert os.read(reading, 1) == b"."
        own.communicate(b"\n")
    os.close(reading)
    os.close(writing)


def test_a_full_pipe_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.0)

    async def main() -> None:
        reading, writing = os.pipe()
        monkeypatch.setenv(heartbeat.VARIABLE, str(writing))
        os.set_blocking(writing, False)
        os.write(writing, b"." * (1 << 20))
        async with heartbeat.beating():
            for _ in range(10):
                await asyncio.sleep(0)
        assert os.read(reading, 1) == b"."
        os.close(reading)
        os.close(writing)

    asyncio.run(main())
