"""Threads that go through the phases of one computation together, inside compiled code.

A phase is a number of tasks, and begins when all tasks of the one before are done. Each thread
claims tasks from a share of its own, in order, so that it streams through memory, then from the
shares of others. Nobody waits for a thread that has not claimed anything: one that the system
wakes late, or puts to sleep between tasks, holds nothing up.

    words[0 .. NUM_SIGNS)        signs of rounds, see `rounds`
    words[phase, thread]         tasks claimed of this thread's share
    words[phase, num_threads]    tasks of the phase that are done

each in a cache line of its own. The number of the run is in the upper half of a word of a phase: a
thread that comes after the end of a run, even in the middle of later ones, finds all tasks of it
taken and done, and leaves.
"""

import functools
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.instructions import doze, exchange, give_way, load_shared, pause

LINE: Final = 8
"""int64 numbers of a cache line."""
NUM_SIGNS: Final = 4
STOPPED: Final = 0
"""Line of a sign: whether nobody shall claim anything any more."""
_RUN = 1 << 32
"""By so much words of one run are above those of the one before."""
NUM_PAUSES: Final = 1500
"""Turns of waiting before other threads are let through: about 50 microseconds."""
_NUM_YIELDS = 20
"""Times that others are let through before the thread sleeps."""
DOZE_MICROSECONDS: Final = 50


class Run(NamedTuple):
    """What threads share of one run."""

    words: NDArray[np.int64]
    number: int
    """From 1 on."""


def new_words(num_phases: int, num_threads: int) -> NDArray[np.int64]:
    """Before the first run."""
    return np.zeros((NUM_SIGNS + num_phases * (num_threads + 1)) * LINE, np.int64)


class Crew:
    """Threads that compute together with whoever calls `run`, and with nobody else's threads.

    They start when they are first needed and stay; they inherit the priority of who calls then.
    """

    def __init__(self) -> None:
        self._mates: dict[int, queue.SimpleQueue[Callable[[], None]]] = {}

    def run(self, loop: Callable[..., None], num_phases: int, *arguments: Any) -> None:
        """Call loop(run, num_threads, thread, *arguments) on as many threads as torch uses,
        until its phases are done."""
        num_threads = torch.get_num_threads()
        one = Run(new_words(num_phases, num_threads), 1)
        for thread in range(1, num_threads):
            call = functools.partial(loop, one, num_threads, thread, *arguments)
            self.mates(num_threads - 1).put(call)
        loop(one, num_threads, 0, *arguments)

    def mates(self, num_mates: int) -> "queue.SimpleQueue[Callable[[], None]]":
        """What so many threads take in turn and call. An executor would make a future for each."""
        return self._mates.get(num_mates) or self._start(num_mates)

    def _start(self, num_mates: int) -> "queue.SimpleQueue[Callable[[], None]]":
        calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for number in range(num_mates):
            name = f"inlay-crew_{number}"
            threading.Thread(target=_serve, args=(calls,), name=name, daemon=True).start()
        self._mates[num_mates] = calls
        return calls


STEPS: Final = Crew()
"""The crew of the steps."""
run: Final = STEPS.run


def _serve(calls: "queue.SimpleQueue[Callable[[], None]]") -> None:
    while True:
        calls.get()()


@compiled()
def claim(run, num_threads, thread, phase, num_tasks):  # type: ignore[no-untyped-def]
    """A task in [0, num_tasks) that no other thread does; -1 when none is left."""
    if load_shared(run.words, STOPPED * LINE):
        return -1
    for turn in range(num_threads):
        owner = (thread + turn) % num_threads
        first = owner * num_tasks // num_threads
        size = (owner + 1) * num_tasks // num_threads - first
        number = _add(run, _place(num_threads, phase, owner), 1, size)
        if number < size:
            return first + number
    return -1


@compiled()
def finish(run, num_threads, phase, num_done, num_tasks):  # type: ignore[no-untyped-def]
    """Say how many tasks this thread did, and wait until all are done, or nobody does more."""
    place = _place(num_threads, phase, num_threads)
    num_seen = num_done
    if num_done > 0:
        num_seen += _add(run, place, num_done, num_tasks)
    turn = 0
    while num_seen < num_tasks and not load_shared(run.words, STOPPED * LINE):
        turn += 1
        if turn < NUM_PAUSES:
            pause()
        elif turn < NUM_PAUSES + _NUM_YIELDS:
            give_way()
        else:
            doze(DOZE_MICROSECONDS)
        num_seen = load_shared(run.words, place) - run.number * _RUN


@compiled()
def _place(num_threads, phase, thread):  # type: ignore[no-untyped-def]
    return (NUM_SIGNS + phase * (num_threads + 1) + thread) * LINE


@compiled()
def _add(run, place, amount, size):  # type: ignore[no-untyped-def]
    """Add to the count of this run; what it was before. Nothing is added to one that is `size` or
    more, as that of a later run is."""
    base = run.number * _RUN
    while True:
        word = load_shared(run.words, place)
        count = max(word - base, 0)
        if count >= size or exchange(run.words, place, word, base + count + amount):
            return count
