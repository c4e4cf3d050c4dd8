"""Rounds of a bench: as many as were asked for, or as fit into the time."""

import time
from collections.abc import Iterator


def rounds(num_rounds: int, minutes: float) -> Iterator[int]:
    """Their numbers. The first is run in any case; none begins that may not end in time."""
    deadline = time.monotonic() + 60 * minutes
    longest = 0.0
    for index in range(num_rounds):
        began = time.monotonic()
        if index and began + longest > deadline:
            return
        yield index
        longest = max(longest, time.monotonic() - began)


def in_turn(index: int) -> tuple[bool, bool]:
    """Without and with what is measured; who comes first changes with each round."""
    return (False, True) if index % 2 == 0 else (True, False)
