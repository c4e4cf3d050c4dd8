"""Runs a target in a process of its own, which an input may kill or stop."""

import asyncio
import multiprocessing
import signal
import struct
import time
from dataclasses import dataclass, field
from mmap import mmap
from multiprocessing.connection import Connection

from fuzz.loop import Outcome, run, save
from fuzz.target import Target

_MAX_INPUT_BYTES = 1 << 17
_HEAD = struct.Struct("<QQ")
"""Inputs so far, and bytes of the one that is being tried."""
_NEWS_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
"""Without a new input for so long, the process hangs where no timer reaches it."""


@dataclass(frozen=True)
class _News:
    """What a process tells of its inputs while it works."""

    num_behaviours: int
    """So far."""
    findings: list[str]
    """Since it told last."""
    slowest: tuple[float, bytes]
    """So far."""


@dataclass
class Progress:
    """What came of a target so far."""

    target: Target
    num_inputs: int = 0
    num_behaviours: int = 0
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: tuple[float, bytes] = (0.0, b"")
    """Seconds, and the input that took them."""

    def __str__(self) -> str:
        rate = self.num_inputs / max(self.seconds, 0.001)
        return (
            f"{self.target.name}: {self.num_inputs} inputs in {self.seconds:.0f} s ({rate:.0f}/s), "
            f"{self.num_behaviours} behaviours, {len(self.findings)} findings, "
            f"slowest {self.slowest[0]:.2f} s"
        )

    def hear(self, answers: Connection) -> None:
        """Take in what was told since the last time."""
        while answers.poll():
            try:
                news: _News = answers.recv()
            except EOFError:
                return
            self.num_behaviours = max(self.num_behaviours, news.num_behaviours)
            self.findings += news.findings
            self.slowest = max(self.slowest, news.slowest)


def run_apart(target: Target, num_inputs: int, seed: int) -> Progress:
    """All inputs, in as many processes as it takes. Says every five seconds how far it is."""
    progress = Progress(target)
    started = time.monotonic()
    while progress.num_inputs < num_inputs:
        _run_once(progress, num_inputs - progress.num_inputs, seed + progress.num_inputs, started)
        progress.seconds = time.monotonic() - started
    return progress


def _run_once(progress: Progress, num_inputs: int, seed: int, started: float) -> None:
    shared = mmap(-1, _HEAD.size + _MAX_INPUT_BYTES)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_work,
        args=(progress.target, num_inputs, seed, progress.num_inputs == 0, shared, theirs),
        daemon=False,
    )
    process.start()
    theirs.close()
    before = progress.num_inputs
    verdict = _watch(process, shared, ours, progress, started)
    num_done, size = _HEAD.unpack_from(shared)
    progress.num_inputs = before + max(num_done, 1)
    if process.exitcode == 0:
        return
    data = bytes(shared[_HEAD.size : _HEAD.size + size])
    words = verdict or f"the process ended with exit code {process.exitcode}"
    progress.findings.append(f"{progress.target.name}: {save(progress.target, data)}: {words}")


def _watch(
    process: multiprocessing.process.BaseProcess,
    shared: mmap,
    answers: Connection,
    progress: Progress,
    started: float,
) -> str | None:
    """Wait for the end. None, or why it was ended."""
    before, last, since, told = progress.num_inputs, -1, time.monotonic(), time.monotonic()
    while process.is_alive():
        process.join(0.2)
        progress.hear(answers)
        num_done, _ = _HEAD.unpack_from(shared)
        now = time.monotonic()
        if num_done != last:
            last, since = num_done, now
        if now - told >= 5:
            told = now
            progress.num_inputs, progress.seconds = before + num_done, now - started
            print(f"  {progress}", flush=True)
        if now - since > _PATIENCE_SECONDS:
            process.kill()
            process.join()
            return f"it hangs for more than {_PATIENCE_SECONDS:g} s"
    progress.hear(answers)
    return None


def _work(
    target: Target,
    num_inputs: int,
    seed: int,
    is_first: bool,
    shared: mmap,
    answers: Connection,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    outcome = Outcome()
    teller = _Teller(outcome, answers)

    def note(data: bytes) -> None:
        teller.tell()
        kept = data[:_MAX_INPUT_BYTES]
        shared[_HEAD.size : _HEAD.size + len(kept)] = kept
        _HEAD.pack_into(shared, 0, outcome.num_inputs, len(kept))

    asyncio.run(
        run(
            target,
            num_inputs,
            seed,
            note=note,
            outcome=outcome,
            saves=True,
            is_first=is_first,
        )
    )
    teller.tell(at_once=True)
    _HEAD.pack_into(shared, 0, outcome.num_inputs, 0)


class _Teller:
    """Tells of findings at once, since the next input may kill the process, else now and then."""

    def __init__(self, outcome: Outcome, answers: Connection) -> None:
        self._outcome = outcome
        self._answers = answers
        self._num_told = 0
        self._next = time.monotonic()

    def tell(self, *, at_once: bool = False) -> None:
        """What is new, if it is time."""
        findings = self._outcome.findings[self._num_told :]
        now = time.monotonic()
        if not (findings or at_once or now >= self._next):
            return
        self._num_told += len(findings)
        self._next = now + _NEWS_SECONDS
        news = _News(len(self._outcome.behaviours), findings, self._outcome.slowest)
        self._answers.send(news)
