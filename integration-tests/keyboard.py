"""A program at a terminal of its own, with somebody at its keyboard."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CTRL_C = "\x03"
CTRL_D = "\x04"

_WAIT_SECONDS = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\a")


@dataclass
class Keyboard:
    """Types into the program, and reads what stands on its screen."""

    process: subprocess.Popen[bytes]
    terminal: int
    """File descriptor of our end."""
    _unread: str = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.terminal, text.encode())

    def enter(self, line: str) -> None:
        """Type a line, and wait until the screen shows its end, so that only answers are read."""
        self.type(f"{line}\n")
        self.until(re.escape(line[-8:]) + r"[^\n]*\n")

    def until(self, pattern: str) -> str:
        """Everything up to the end of the first match, as it comes; AssertionError if none does."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while (found := re.search(pattern, self._unread)) is None:
            wait = deadline - time.monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(wait, 0))
            assert ready, f"no {pattern!r} in {self._unread!r}"
            self._unread += self._read()
        shown, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return shown

    def _read(self) -> str:
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            data = b""
        assert data, f"the program ended, after {self._unread!r}"
        return _ESCAPES.sub("", data.decode()).replace("\r", "")


@contextmanager
def at_terminal(*words: str) -> Iterator[Keyboard]:
    """`inlay` with these words, in front of a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "inlay.cli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        yield Keyboard(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)


def _take_terminal() -> None:
    """In the child: its standard input becomes the terminal that sends it Ctrl-C as a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
