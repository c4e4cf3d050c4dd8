"""Finds the sequence that kills the replica, by running suspects alone."""

from collections import deque

from inlay_router.batching.sequence import Sequence, State

_NUM_DEATHS_OF_A_SUSPECT = 2

VERDICT = "it stops the shard"
"""What is said to the client of a culprit."""


class Quarantine:
    """Sequences that were in a step at two deaths of the replica, with no progress between.

    One suspect runs at a time, with nobody else in a step, until it gets further than it ever was.
    That acquits it; a death in its lonely step convicts it. Alone rather than by halves, because
    halving kills the replica log2(n) times more, and each time all weights are loaded again.
    """

    def __init__(self) -> None:
        self._suspects: deque[Sequence] = deque()

    def blame(self, present: list[Sequence]) -> list[Sequence]:
        """The replica died in a step with these; returns the culprit, once it is certain."""
        if len(present) == 1 and self._is_suspect(present[0]):
            return present
        for sequence in present:
            sequence.num_deaths += 1
            self.watch(sequence)
        return []

    def watch(self, sequence: Sequence) -> None:
        """Queue the sequence to be run alone, if it is a suspect."""
        if self._is_suspect(sequence):
            self._suspects.append(sequence)

    def suspect(self) -> Sequence | None:
        """Who is to run alone now."""
        while self._suspects:
            sequence = self._suspects[0]
            if sequence.state is not State.OUTSIDE and self._is_suspect(sequence):
                return sequence
            self._suspects.popleft()
        return None

    def _is_suspect(self, sequence: Sequence) -> bool:
        return sequence.num_deaths >= _NUM_DEATHS_OF_A_SUSPECT
