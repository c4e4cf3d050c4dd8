"""Starts the shards and the router as processes of their own, and starts again what dies.

The launcher holds the writing end of a pipe to every child's standard input. However the launcher
ends, SIGKILL included, the pipe closes and the children leave.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inlay.backoff import RestartPolicy, Restarts
from inlay.signs_of_life import SignsOfLife
from inlay_proto import heartbeat

_log = logging.getLogger("inlay")

CONFIGURATION_ERROR = 78
"""Exit code (`EX_CONFIG`) of a child that will fail the same way however often it is started."""
FIRST_SIGN_SECONDS = 60.0
"""What a child may take to its first sign at least: its code may come from a slow disk."""
_HURRY = (signal.SIGTERM, signal.SIGINT)
"""Two signals, which the system does not merge: to a router, the second means at once."""
_HURRY_SECONDS = 2.0
"""What a router gets to tell its clients that their answers end here."""
_DRAIN_MARGIN_SECONDS = 3.0
"""More patience than the router has itself, which ends late streams with an error."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to start one child."""

    name: str
    """For messages: "shard 0", "router"."""
    module: str
    """Run as `python -m module`."""
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """Added to the launcher's own."""
    inherited_fds: tuple[int, ...] = ()
    """File descriptors that the child shares."""
    max_silent_seconds: float | None = None
    """A child that gives no sign of life for so long is ended and started again; None for one that
    gives none."""


class GaveUp(Exception):
    """A child cannot be kept running; the message says which and how it ended."""


@dataclass(frozen=True)
class Death:
    """A child that ended by itself."""

    name: str
    exit_code: int
    """As `asyncio.subprocess` gives it: negative for a signal."""

    def __str__(self) -> str:
        if self.exit_code < 0:
            return f"{self.name} was ended by {signal.Signals(-self.exit_code).name}"
        return f"{self.name} ended with exit code {self.exit_code}"


class Child:
    """A process that was started, and is ended when it falls silent."""

    def __init__(
        self, command: Command, process: asyncio.subprocess.Process, signs: SignsOfLife
    ) -> None:
        """Use `start`."""
        self._command = command
        self._process = process
        self._signs = signs
        self._watch = asyncio.create_task(self._end_if_silent())

    async def death(self) -> Death:
        """How it ended, once it has."""
        return Death(self._command.name, await self._process.wait())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def forget(self) -> None:
        """It has ended: give back what was held for it."""
        await _ended(self._watch)
        self._signs.close()

    async def _end_if_silent(self) -> None:
        if (seconds := self._command.max_silent_seconds) is None:
            return
        await self._signs.until_silent(seconds, first_seconds=FIRST_SIGN_SECONDS)
        report(f"{self._command.name} gave no sign of life for {seconds:g} s; ending it")
        self.signal(signal.SIGKILL)


class Group:
    """Children that live and die together: the ranks of a replica, or the router alone."""

    def __init__(self, commands: Callable[[], Sequence[Command]], policy: RestartPolicy) -> None:
        """`commands` is asked anew for each start, so that ports can differ."""
        self._commands = commands
        self._restarts = Restarts(policy)
        self._children: list[Child] = []

    async def keep_running(self) -> None:
        """Start the children, and all of them again when one dies. Raises GaveUp."""
        while True:
            death = await self._run_once()
            delay = self._restarts.next_delay(time.monotonic())
            if death.exit_code == CONFIGURATION_ERROR:
                raise GaveUp(f"{death}: it cannot start as configured (see its last lines above)")
            if delay is None:
                raise GaveUp(f"{death}; it died too often to go on (see its last lines above)")
            report(f"{death}; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def stop(
        self, grace_seconds: float, signals: Sequence[signal.Signals] = (signal.SIGTERM,)
    ) -> None:
        """Signals to every child, SIGKILL to those still there after the grace."""
        for number in signals:
            self._signal(number)
        waits = [asyncio.ensure_future(child.death()) for child in self._children]
        if not waits:
            return
        _, late = await asyncio.wait(waits, timeout=grace_seconds)
        if late:
            self._signal(signal.SIGKILL)
            await asyncio.wait(late)
        for child in self._children:
            await child.forget()
        self._children.clear()

    async def _run_once(self) -> Death:
        for command in self._commands():
            self._children.append(await start(command))
        death = await self._first_death()
        await self.stop(grace_seconds=0.0)
        return death

    async def _first_death(self) -> Death:
        waits = [asyncio.ensure_future(child.death()) for child in self._children]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return done.pop().result()

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            child.signal(number)


async def start(command: Command) -> Child:
    """One child, its standard input a pipe that nobody writes to."""
    signs = SignsOfLife()
    beats = {heartbeat.VARIABLE: str(signs.writing)}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            command.module,
            *command.arguments,
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, **beats, **command.environment},
            pass_fds=(*command.inherited_fds, signs.writing),
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends them in order
        )
    finally:
        os.close(signs.writing)
    return Child(command, process, signs)


def free_port() -> int:
    """A TCP port of the loopback interface that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def report(message: str, level: int = logging.WARNING) -> None:
    """Say something to the person who runs the server; `level` is one of `logging`'s."""
    _log.log(level, "%s", message)


async def run(router: Group, replica: Group, drain_seconds: float) -> int:
    """Keep both groups running until a signal or a GaveUp; the exit code.

    On a signal the router drains its streams, up to `drain_seconds`, while shards are kept running
    for them; the shards end after it. A second signal, or a GaveUp, ends everything at once.
    """
    stopping, hurried = _signals()
    shards = asyncio.create_task(replica.keep_running())
    routers = asyncio.create_task(router.keep_running())
    await first_of(stopping.wait(), shards, routers)
    await _ended(routers)
    if not failures(shards, routers):
        words = "leaving: running answers get up to {:g} s; a second signal ends them at once"
        report(words.format(drain_seconds), logging.INFO)
        draining = router.stop(drain_seconds + _DRAIN_MARGIN_SECONDS)
        await first_of(draining, hurried.wait(), shards)
    await router.stop(_HURRY_SECONDS, _HURRY)
    await _ended(shards)
    await replica.stop(grace_seconds=0.0 if hurried.is_set() else 5.0)
    causes = failures(shards, routers)
    for cause in causes:
        report(str(cause), logging.ERROR)
    return 1 if causes else 0


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events of the first and of the second SIGTERM or SIGINT."""
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return first, second


async def first_of(*things: Coroutine[None, None, object] | asyncio.Task[None]) -> None:
    """Wait for one of these; those given as coroutines are cancelled when another was faster."""
    own = [asyncio.ensure_future(thing) for thing in things]
    await asyncio.wait(own, return_when=asyncio.FIRST_COMPLETED)
    for task, thing in zip(own, things, strict=True):
        if task is not thing:
            await _ended(task)


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def failures(*keepers: asyncio.Task[None]) -> list[BaseException]:
    """Why groups are not kept running any more, where that is not our wish."""
    ended = (keeper for keeper in keepers if keeper.done() and not keeper.cancelled())
    return [failure for keeper in ended if (failure := keeper.exception())]
