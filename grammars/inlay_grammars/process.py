"""The router's end of a compile process."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Self

from inlay_grammars import wire
from inlay_grammars.spec import GrammarSpec
from inlay_grammars.verdict import Verdict

GRACE_SECONDS = 2.0
"""Between asking the process to end and killing it."""
START_SECONDS = 120.0
"""To read a large tokenizer, on a machine that has much else to do."""
HANG_SECONDS = 20.0
"""Beyond the time of a compilation, which the process itself ends when that is over."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""The process forks, which is only safe while it has one thread."""


class ProcessEnded(Exception):
    """The compile process, or the canary that it forked, ended before it answered."""


class CompileProcess:
    """A running `inlay_grammars.worker`. Answers come in any order."""

    def __init__(self, process: Process, compile_seconds: float) -> None:
        """Use `start`."""
        self._process = process
        self._patience = compile_seconds + HANG_SECONDS
        self._waiting: dict[int, asyncio.Future[wire.Message]] = {}
        self._num_requests = 0
        self._reading: asyncio.Task[None] | None = None
        self._is_cut_off = False  # before its own end is seen

    @classmethod
    async def start(cls, facts: wire.Message) -> tuple[Self, str | None]:
        """A process that was told the model's facts, and why it cannot compile for it, if so.

        Raises:
            ProcessEnded: it ended before it was ready, or was not ready in time.
        """
        command = (sys.executable, "-m", "inlay_grammars.worker")
        environment = os.environ | ONE_THREAD
        process = cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is for those who started us
            ),
            facts["limits"]["seconds"],
        )
        try:
            async with process._ending_after(START_SECONDS):
                await process._send(facts)
                ready = await process._receive()
        except BaseException:
            await process.stop()
            raise
        process._reading = asyncio.create_task(process._read_answers())
        error: str | None = ready["error"]
        return process, error

    @property
    def pid(self) -> int:
        """Of the compile process."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """It answers no more."""
        return self._is_cut_off or self._reading is None or self._reading.done()

    async def ask(self, spec: GrammarSpec) -> Verdict:
        """What became of one compilation.

        Raises:
            ProcessEnded: the process, or its canary, was killed first, or the process hangs.
        """
        if self.has_ended:
            raise ProcessEnded
        self._num_requests += 1
        request_id = self._num_requests
        answer: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            async with self._ending_after(self._patience):
                await self._send({"id": request_id, "spec": asdict(spec)})
                verdict = (await answer)["verdict"]
            if verdict is None:
                raise ProcessEnded
            return Verdict(**verdict)
        finally:
            self._waiting.pop(request_id, None)

    async def stop(self) -> None:
        """End the process, by force if it does not obey."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    @asynccontextmanager
    async def _ending_after(self, seconds: float) -> AsyncIterator[None]:
        """A process that is not done with the block by then hangs: it is ended, for all who wait
        for it. Raises ProcessEnded."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self._is_cut_off = True
            with suppress(ProcessLookupError):
                self._process.kill()
            raise ProcessEnded from None

    async def _send(self, message: wire.Message) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(wire.encode(message))
            await stdin.drain()
        except ConnectionError:
            self._is_cut_off = True
            raise ProcessEnded from None

    async def _receive(self) -> wire.Message:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            (length,) = wire.LENGTH.unpack(await stdout.readexactly(wire.LENGTH.size))
            return wire.decode(await stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ProcessEnded from None

    async def _read_answers(self) -> None:
        try:
            while True:
                answer = await self._receive()
                waiting = self._waiting.get(answer["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except ProcessEnded:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ProcessEnded())
