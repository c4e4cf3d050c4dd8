"""Noticing that the process that started this one is gone."""

import os
import sys
import threading
from collections.abc import Callable


class ParentWatch:
    """Waits on a thread for the end of standard input, whose other end the parent holds."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """on_end: called once, on that thread; may be replaced by `hand_over` before."""
        self._on_end = on_end
        self._lock = threading.Lock()
        self._has_ended = False

    def start(self) -> None:
        """Begin to wait."""
        threading.Thread(target=self._wait, name="parent", daemon=True).start()

    def hand_over(self, on_end: Callable[[], None]) -> None:
        """Let something else be called; at once, if the parent is already gone."""
        with self._lock:
            self._on_end = on_end
            has_ended = self._has_ended
        if has_ended:
            on_end()

    def _wait(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with self._lock:
            self._has_ended = True
            on_end = self._on_end
        on_end()
