"""Notices that files were replaced, so that secrets can change without a restart."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

_State: TypeAlias = tuple[tuple[int, int, int], ...]

LOOK_SECONDS = 1.0
"""Between two looks at the disk."""


class WatchedFiles:
    """Files that somebody may write anew, or put others in the place of."""

    def __init__(self, *paths: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError when one is not there."""
        self._paths = paths
        self._clock = clock
        self._looked = clock()
        self._state = self._read_state()

    def have_changed(self) -> bool:
        """Whether they are others than when this was asked last; looks once a second at most.

        False while one is missing, as it is for a moment when files are exchanged.
        """
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        try:
            state = self._read_state()
        except OSError:
            return False
        before, self._state = self._state, state
        return state != before

    def _read_state(self) -> _State:
        found = (path.stat() for path in self._paths)
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)
