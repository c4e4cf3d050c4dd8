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
_PATIENCE_SECONDS = 30.0
"""Without a new input for so long, the process hangs where no timer reaches it."""


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
        target=_work, args=(progress.target, num_inputs, seed, shared, theirs), daemon=False
    )
    process.start()
    theirs.close()
    before = progress.num_inputs
    verdict = _watch(process, shared, progress, before, started)
    outcome = _last_words(ours)
    num_done, size = _HEAD.unpack_from(shared)
    progress.num_inputs = before + max(num_done, 1)
    if outcome is not None:
        progress.num_behaviours = max(progress.num_behaviours, len(outcome.behaviours))
        progress.findings += outcome.findings
        progress.slowest = max(progress.slowest, outcome.slowest)
        return
    data = bytes(shared[_HEAD.size : _HEAD.size + size])
    words = verdict or f"the process ended with exit code {process.exitcode}"
    progress.findings.append(f"{progress.target.name}: {save(progress.target, data)}: {words}")


def _last_words(answers: Connection) -> Outcome | None:
    """What a process that came to its end says."""
    try:
        outcome: Outcome = answers.recv()
    except EOFError:
        return None
    return outcome


def _watch(
    process: multiprocessing.process.BaseProcess,
    shared: mmap,
    progress: Progress,
    before: int,
    started: float,
) -> str | None:
    """Wait for the end. None, or why it was ended."""
    last, since, told = -1, time.monotonic(), time.monotonic()
    while process.is_alive():
        process.join(0.2)
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
    return None


def _work(target: Target, num_inputs: int, seed: int, shared: mmap, answers: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    outcome = Outcome()

    def note(data: bytes) -> None:
        kept = data[:_MAX_INPUT_BYTES]
        shared[_HEAD.size : _HEAD.size + len(kept)] = kept
        _HEAD.pack_into(shared, 0, outcome.num_inputs, len(kept))

    asyncio.run(run(target, num_inputs, seed, note=note, outcome=outcome, saves=True))
    _HEAD.pack_into(shared, 0, outcome.num_inputs, 0)
    answers.send(outcome)
