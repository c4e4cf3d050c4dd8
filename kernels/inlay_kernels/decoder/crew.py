"""Threads that go through the phases of one computation together, inside compiled code.

A phase is a number of tasks, and begins when all tasks of the one before are done. Each thread
claims tasks from a share of its own, in order, so that it streams through memory, then from the
shares of others. Nobody waits for a thread that has not claimed anything: one that the system
wakes late, or puts to sleep between tasks, holds nothing up.

    state[phase, thread]         tasks claimed of this thread's share
    state[phase, num_threads]    tasks of the phase that are done

each in a cache line of its own. A run has a fresh state, so a thread that comes after its end
finds all tasks taken, and leaves.
"""

import functools
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.instructions import doze, fetch_add, give_way, load_shared, pause

_LINE = 8
"""int64 numbers of a cache line."""
_NUM_PAUSES = 1500
"""Turns of waiting before other threads are let through: about 50 microseconds."""
_NUM_YIELDS = 20
"""Times that others are let through before the thread sleeps."""
_DOZE_MICROSECONDS = 50


class Crew:
    """Threads that compute together with whoever calls `run`, and with nobody else's threads.

    They start when they are first needed and stay; they inherit the priority of who calls then.
    """

    def __init__(self) -> None:
        self._mates: dict[int, queue.SimpleQueue[Callable[[], None]]] = {}

    def run(self, loop: Callable[..., None], num_phases: int, *arguments: Any) -> None:
        """Call loop(state, num_threads, thread, *arguments) on as many threads as torch uses,
        until its phases are done."""
        num_threads = torch.get_num_threads()
        state = np.zeros(num_phases * (num_threads + 1) * _LINE, np.int64)
        if num_threads > 1:
            calls = self._mates.get(num_threads - 1) or self._start(num_threads - 1)
            for thread in range(1, num_threads):
                calls.put(functools.partial(loop, state, num_threads, thread, *arguments))
        loop(state, num_threads, 0, *arguments)

    def _start(self, num_mates: int) -> "queue.SimpleQueue[Callable[[], None]]":
        """What so many threads take in turn and call. An executor would make a future for each."""
        calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for number in range(num_mates):
            name = f"inlay-crew_{number}"
            threading.Thread(target=_serve, args=(calls,), name=name, daemon=True).start()
        self._mates[num_mates] = calls
        return calls


run: Final = Crew().run
"""By the crew of the steps."""


def _serve(calls: "queue.SimpleQueue[Callable[[], None]]") -> None:
    while True:
        calls.get()()


@compiled()
def claim(state, num_threads, thread, phase, num_tasks):  # type: ignore[no-untyped-def]
    """A task in [0, num_tasks) that no other thread does; -1 when none is left."""
    for turn in range(num_threads):
        owner = (thread + turn) % num_threads
        first = owner * num_tasks // num_threads
        size = (owner + 1) * num_tasks // num_threads - first
        place = (phase * (num_threads + 1) + owner) * _LINE
        if load_shared(state, place) < size:
            number = fetch_add(state, place, 1)
            if number < size:
                return first + number
    return -1


@compiled()
def finish(state, num_threads, phase, num_done, num_tasks):  # type: ignore[no-untyped-def]
    """Say how many tasks this thread did, and wait until all are done."""
    place = (phase * (num_threads + 1) + num_threads) * _LINE
    num_seen = num_done
    if num_done > 0:
        num_seen += fetch_add(state, place, num_done)
    turn = 0
    while num_seen < num_tasks:
        turn += 1
        if turn < _NUM_PAUSES:
            pause()
        elif turn < _NUM_PAUSES + _NUM_YIELDS:
            give_way()
        else:
            doze(_DOZE_MICROSECONDS)
        num_seen = load_shared(state, place)
