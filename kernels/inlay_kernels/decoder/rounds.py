"""Runs of one compiled loop over the same arrays, one after the other, which threads follow.

Between two runs the caller goes back to Python, its mates do not: they wait inside compiled code
for the next run, and need no interpreter to begin it. Where the loop itself opens the next run,
they are on their way in it before the caller has come back.

    caller   run 1 ─▶ Python ───────▶ run 2 ─▶ Python …
    mates    run 1 ─▶ run 2, which run 1 opened ─▶ …

Signs, beside what `crew` keeps in the same words:

    OPEN       the last run that may be begun
    GOES_ON    the run that may open the one behind it; set before, by the caller
    PRESENT    mates that are inside compiled code
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import numba

from inlay_kernels.compiled import compiled
from inlay_kernels.decoder.crew import (
    DOZE_MICROSECONDS,
    LINE,
    NUM_PAUSES,
    STOPPED,
    Crew,
    new_words,
)
from inlay_kernels.decoder.instructions import doze, fetch_add, give_way, load_shared, pause

_OPEN: Final = 1
_GOES_ON: Final = 2
_PRESENT: Final = 3
_NUM_YIELDS = 2000
"""Times that a mate lets others through before it sleeps: about a millisecond."""
_NUM_DOZES = 40
"""Times that it sleeps before it leaves: some 4 milliseconds."""


class Rounds:
    """The runs of one loop. For one thread, which the mates of a crew follow."""

    def __init__(
        self,
        crew: Crew,
        num_threads: int,
        loop: Callable[..., None],
        num_phases: int,
        arguments: tuple[Any, ...],
        kept: object,
    ) -> None:
        """loop: called as loop(words, num_threads, thread, number, *arguments), to take part in
        run `number` and, on mates, in those behind it. kept: what must live while mates compute.
        """
        self._crew = crew
        self._num_threads = num_threads
        self._loop: Any = loop
        self._call: Callable[..., None] = loop
        self._arguments = arguments
        self._kept = kept
        self._words = new_words(num_phases, num_threads)
        self.number = 0
        """Of the last run."""
        self.is_over = False
        """Whether it was stopped; there are no runs any more."""

    @property
    def num_present(self) -> int:
        """Mates that compute, or wait for the next run."""
        return int(self._words[_PRESENT * LINE])

    def run(self, *, goes_on: bool = False) -> None:
        """One run, or what is left of it where mates are ahead.

        goes_on: whether it may open the one behind it.
        """
        assert not self.is_over
        self.number += 1
        if self.number == 2:
            self._call = self._entry()
        if goes_on:
            self._words[_GOES_ON * LINE] = self.number
        for thread in range(1, self._num_threads - self.num_present):
            self._crew.mates(self._num_threads - 1).put(functools.partial(self._follow, thread))
        self._call(self._words, self._num_threads, 0, self.number, *self._arguments)

    def stop(self) -> None:
        """There are no more runs; behind this, nobody computes one that was begun ahead."""
        self.is_over = True
        _stop(self._words, self.number)

    def _follow(self, thread: int) -> None:
        self._call(self._words, self._num_threads, thread, 0, *self._arguments)

    def _entry(self) -> Callable[..., None]:
        """The loop as it was compiled for these types. To be asked for the types of arguments at
        each call takes longer than the call: 60 of 85 microseconds, as caches are full of weights.
        """
        arguments = (self._words, self._num_threads, 0, self.number, *self._arguments)
        entry: Callable[..., None] = self._loop.compile(tuple(map(numba.typeof, arguments)))
        return entry


@compiled()
def first_run(words, thread, number):  # type: ignore[no-untyped-def]
    """The run to take part in, for a thread that comes; 0 for none."""
    if thread == 0:
        if load_shared(words, _OPEN * LINE) < number:
            fetch_add(words, _OPEN * LINE, 1)
        return number
    fetch_add(words, _PRESENT * LINE, 1)
    return _await_run(words, 0)


@compiled()
def next_run(words, thread, number):  # type: ignore[no-untyped-def]
    """The run to take part in behind another one; 0 for none."""
    return 0 if thread == 0 else _await_run(words, number)


@compiled()
def may_go_on(words, number):  # type: ignore[no-untyped-def]
    """Whether a run may open the one behind it."""
    return load_shared(words, _GOES_ON * LINE) == number


@compiled()
def open_next(words):  # type: ignore[no-untyped-def]
    """Let the mates go on; what was written before is seen by them."""
    fetch_add(words, _OPEN * LINE, 1)


@compiled()
def _await_run(words, number):  # type: ignore[no-untyped-def]
    """The last run that is open, once that is behind `number`; 0 if the mate has left."""
    turn = 0
    while True:
        is_stopped = load_shared(words, STOPPED * LINE) != 0
        last = load_shared(words, _OPEN * LINE)
        if last > number and not is_stopped:
            return last
        if is_stopped or turn == NUM_PAUSES + _NUM_YIELDS + _NUM_DOZES:
            fetch_add(words, _PRESENT * LINE, -1)
            return 0
        turn += 1
        _wait(turn)


@compiled()
def _wait(turn):  # type: ignore[no-untyped-def]
    if turn < NUM_PAUSES:
        pause()
    elif turn < NUM_PAUSES + _NUM_YIELDS:
        give_way()
    else:
        doze(DOZE_MICROSECONDS)


@compiled(nogil=True)
def _stop(words, number):  # type: ignore[no-untyped-def]
    """number: of the last run that the caller took part in."""
    fetch_add(words, STOPPED * LINE, 1)
    if load_shared(words, _OPEN * LINE) <= number:
        return  # whoever is still there has nothing to do
    turn = 0
    while load_shared(words, _PRESENT * LINE) > 0:
        turn += 1
        _wait(turn)
