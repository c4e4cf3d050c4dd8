"""Look-ups that nobody waits for any more, because no name server answers them."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from scripted_router import eventually

from inlay_router.doors.clients import current_client
from inlay_router.images.lookups import Lookups


class Silence:
    """A name server that says nothing about some names until it is told to."""

    def __init__(self) -> None:
        self.num_asked = 0
        self._may_speak = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        """See socket."""
        self.num_asked += 1
        if host.startswith("silent"):
            self._may_speak.wait()
            raise socket.gaierror
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 2, 17, "", ("8.8.8.8", port))]

    def speak(self) -> None:
        """Let all look-ups end."""
        self._may_speak.set()


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    made = Silence()
    monkeypatch.setattr("inlay_router.images.lookups.socket.getaddrinfo", made.getaddrinfo)
    yield made
    made.speak()


def test_addresses_are_told_once(silence: Silence) -> None:
    async def scenario() -> list[str]:
        return await Lookups()("example.test", 80)

    assert asyncio.run(scenario()) == ["8.8.8.8"]


def test_a_client_whose_names_are_silent_keeps_nobody_else_waiting(silence: Silence) -> None:
    async def scenario() -> None:
        look_up = Lookups(num_lookups=3, num_per_client=2)
        current_client.set("one")
        names = [f"silent-{number}.test" for number in range(5)]
        waiting = [asyncio.create_task(look_up(name, 80)) for name in names]
        await eventually(lambda: silence.num_asked == 2)
        for task in waiting:
            task.cancel()  # their time is over, and two threads still wait
        await asyncio.wait(waiting)
        own = asyncio.create_task(look_up("own.test", 80))
        current_client.set("other")
        assert await look_up("example.test", 80) == ["8.8.8.8"]
        assert not own.done()
        silence.speak()
        assert await own == ["8.8.8.8"]
        assert silence.num_asked == 4
        await eventually(lambda: repr(look_up) == "Lookups(Places({}))")

    asyncio.run(scenario())


def test_all_together_are_bounded_too(silence: Silence) -> None:
    async def scenario() -> None:
        look_up = Lookups(num_lookups=1, num_per_client=1)
        current_client.set("one")
        first = asyncio.create_task(look_up("silent.test", 80))
        await eventually(lambda: silence.num_asked == 1)
        current_client.set("other")
        second = asyncio.create_task(look_up("example.test", 80))
        third = asyncio.create_task(look_up("silent.test", 80))
        await eventually(lambda: "'other': 2" in repr(look_up))
        second.cancel()
        await asyncio.wait([second])
        silence.speak()
        assert await first == await third == []
        await eventually(lambda: repr(look_up) == "Lookups(Places({}))")

    asyncio.run(scenario())


def test_a_look_up_may_outlive_its_loop(silence: Silence) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(Lookups()("silent.test", 80))
        await eventually(lambda: silence.num_asked == 1)
        task.cancel()

    asyncio.run(scenario())
    silence.speak()
    for thread in threading.enumerate():
        if thread.name == "look-up":
            thread.join()
