"""A replica that lives and answers no more is ended, and streams go on over the next."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

from inlay_router.batching.generation import Generation
from inlay_router.links.peers import end_listener, has_listener
from inlay_router.links.remote import RemoteLink
from inlay_router.links.scripted import ScriptedLink
from inlay_router.request import Finish, GenerationRequest, Prompt

REQUEST = GenerationRequest(prompt=Prompt(token_ids=(72, 105)), max_new_tokens=20)


async def answer_over(link: ScriptedLink) -> str:
    """The answer over a link on which no step may take more than a moment."""
    generation = Generation(link, retry_seconds=0, step_timeout=0.02)
    await generation.start()
    try:
        async with asyncio.timeout(30), generation.stream(REQUEST) as stream:
            while items := await stream.read():
                if isinstance(items[-1], Finish):
                    return items[-1].generated_text
    finally:
        await generation.stop()
    raise AssertionError("the stream did not finish")


def test_a_step_that_takes_too_long() -> None:
    class Hanging(ScriptedLink):
        async def end(self) -> None:
            await super().end()
            await self.resume()

    async def main() -> None:
        link = Hanging()
        await link.pause()
        assert await answer_over(link) == "Hello, world"
        assert (link.num_ends, link.num_connects) == (1, 2)

    asyncio.run(main())


def test_a_shard_that_does_not_say_that_it_lives() -> None:
    class Silent(ScriptedLink):
        async def end(self) -> None:
            await super().end()
            ended.set()

    ended = asyncio.Event()

    async def main() -> None:
        link = Silent()
        link.answers_health = False
        generation = Generation(link, retry_seconds=0, step_timeout=0.02)
        await generation.start()
        async with asyncio.timeout(30):
            await ended.wait()
        await generation.stop()
        assert link.num_ends == 1

    asyncio.run(main())


def test_a_process_that_listens_is_ended_even_if_it_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "shard.sock"
    source = (
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        "s.listen(); print('listening', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", source, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        assert has_listener(f"unix:{path}")
        assert end_listener(f"unix:{path}")
        assert process.wait(30) == -signal.SIGKILL
    assert not has_listener(f"unix:{path}")
    assert not end_listener(f"unix:{path}")


def test_nobody_else_is_ended(tmp_path: Path) -> None:
    assert not end_listener("127.0.0.1:1")
    assert not end_listener(f"unix:{tmp_path / 'nobody.sock'}")
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "own.sock"))
        own.listen()
        assert not end_listener(f"unix:{tmp_path / 'own.sock'}")


def test_a_shard_that_falls_silent_while_it_loads() -> None:
    class Stuck(ScriptedLink):
        async def end(self) -> None:
            await super().end()
            self.answers_health = True
            await self.revive()

    async def main() -> None:
        link = Stuck()
        link.answers_health = False
        await link.die()
        assert await answer_over(link) == "Hello, world"
        assert (link.num_ends, link.num_connects) == (1, 1)

    asyncio.run(main())


def test_a_shard_that_listens_and_never_answers_is_not_alive(tmp_path: Path) -> None:
    async def main() -> None:
        link = RemoteLink([f"unix:{tmp_path / 'silent.sock'}"])
        connecting = asyncio.create_task(link.connect())
        await asyncio.sleep(0)  # from now on there is a channel
        assert await link.is_alive(within=30)  # nobody is there yet: nobody hangs
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(tmp_path / "silent.sock"))
            silent.listen()
            assert not await link.is_alive(within=0.1)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await link.close()

    asyncio.run(main())
