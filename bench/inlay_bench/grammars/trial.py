"""One schema and its instances in one backend, in a forked process that may die of it."""

import ctypes
import os
import resource
import select
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from inlay_bench.grammars.walkers import Refused, Walker

Outcome = Literal["held", "refused", "time", "memory", "crash"]

COMPILE_SECONDS = 5.0
WALK_SECONDS = 30.0
MEMORY_BYTES = 512 * 2**20
"""Address space on top of what the idle process has. This and the time are a server's limits."""
PR_SET_PDEATHSIG = 1


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A schema and what to follow through it."""

    schema: str
    instances: list[list[int]]
    """Token ids."""
    eos_token_ids: list[int]


class Trial(msgspec.Struct, kw_only=True):
    """What became of it."""

    outcome: Outcome
    reason: str = ""
    """Of what was not held."""
    compile_ms: float = 0.0
    """With the first mask."""
    mask_us: list[float] = msgspec.field(default_factory=list)
    """Of every mask."""
    accepted: list[bool] = msgspec.field(default_factory=list)
    """Of each instance: every token allowed by the mask before it, and an end behind the last."""


class _Compiled(msgspec.Struct, tag=True):
    compile_ms: float


class _Refusal(msgspec.Struct, tag=True):
    reason: str


class _Followed(msgspec.Struct, tag=True):
    is_accepted: bool
    mask_us: list[float]


_Message = _Compiled | _Refusal | _Followed


def try_out(walker: Walker, question: Question) -> Trial:
    """Fork, wait, and say what became of it; never longer than the limits."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _live(walker, question, writer)
    os.close(writer)
    trial = Trial(outcome="held")
    try:
        is_late = not _read(reader, trial)
        if is_late:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(reader)
        _, status = os.waitpid(pid, 0)
    return _judged(trial, os.waitstatus_to_exitcode(status), is_late, len(question.instances))


def _read(reader: int, trial: Trial) -> bool:
    """Take in what the child says, until it ended (True) or is late (False)."""
    buffer = b""
    deadline = time.monotonic() + COMPILE_SECONDS
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        received = os.read(reader, 1 << 20)
        if not received:
            return True
        *lines, buffer = (buffer + received).split(b"\n")
        for line in lines:
            message = msgspec.json.decode(line, type=_Message)
            if isinstance(message, _Compiled):
                deadline = time.monotonic() + WALK_SECONDS
            _note(trial, message)


def _note(trial: Trial, message: _Message) -> None:
    match message:
        case _Compiled(compile_ms):
            trial.compile_ms = compile_ms
        case _Refusal(reason):
            trial.outcome, trial.reason = "refused", reason
        case _Followed(is_accepted, mask_us):
            trial.accepted.append(is_accepted)
            trial.mask_us += mask_us


def _judged(trial: Trial, exit_code: int, is_late: bool, num_instances: int) -> Trial:
    """Why a child that did not say everything ended."""
    if trial.outcome == "refused" or (trial.compile_ms and len(trial.accepted) == num_instances):
        return trial
    place = "while it was followed" if trial.compile_ms else "while it was compiled"
    if is_late:
        trial.outcome, trial.reason = "time", f"too slow {place}"
    elif exit_code in (0, -signal.SIGABRT):
        trial.outcome, trial.reason = "memory", f"too large {place}"
    else:
        trial.outcome, trial.reason = "crash", f"exit code {exit_code} {place}"
    return trial


def _live(walker: Walker, question: Question, writer: int) -> None:
    """The life of the child. Silence means that it ran out of memory, or died."""
    try:
        _confine()
        for message in _messages(walker, question):
            os.write(writer, msgspec.json.encode(message) + b"\n")
    finally:
        os._exit(0)


def _messages(walker: Walker, question: Question) -> Iterator[_Message]:
    start = time.perf_counter()
    try:
        walker.compile(question.schema)
    except Refused as refused:
        yield _Refusal(str(refused))
        return
    yield _Compiled(1000 * (time.perf_counter() - start))
    for token_ids in question.instances:
        yield _follow(walker, token_ids, question.eos_token_ids)


def _follow(walker: Walker, token_ids: Sequence[int], eos_token_ids: Sequence[int]) -> _Followed:
    walker.start()
    mask_us: list[float] = []
    for token_id in token_ids:
        _timed_fill(walker, mask_us)
        if not _is_allowed(walker, token_id):
            return _Followed(False, mask_us)
        walker.consume(token_id)
    _timed_fill(walker, mask_us)
    return _Followed(any(_is_allowed(walker, end) for end in eos_token_ids), mask_us)


def _timed_fill(walker: Walker, mask_us: list[float]) -> None:
    start = time.perf_counter()
    walker.fill()
    mask_us.append(round(1e6 * (time.perf_counter() - start), 1))


def _is_allowed(walker: Walker, token_id: int) -> bool:
    return bool(walker.words[token_id // 32] >> np.uint32(token_id % 32) & np.uint32(1))


def _confine() -> None:
    """Bounds set by the system, and an end with the parent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # last words of allocators
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with open("/proc/self/statm") as statm:
        num_pages = int(statm.read().split()[0])
    limit = num_pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
