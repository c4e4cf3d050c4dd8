"""The keys that open the server: one from the environment, others from a file that may change."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path

from inlay_proto.watched_files import WatchedFiles
from inlay_router.config import ConfigError

_log = logging.getLogger("inlay.router")


class ApiKeys:
    """Keys, held as digests. A file of keys is read again when it changes."""

    def __init__(
        self, key: str | None, file: Path | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`file` has one key a line; empty lines and those that begin with `#` are none.

        Raises ConfigError when the file cannot be read, or there is no key at all.
        """
        self._own = frozenset() if key is None else frozenset({_digest(key.encode())})
        self._file = file
        self._digests = self._own
        if file is not None:
            try:
                self._watched = WatchedFiles(file, clock=clock)
                self._digests = self._own | _read(file)
            except (OSError, UnicodeDecodeError):
                raise ConfigError(f"--api-key-file: {file} cannot be read") from None
        if not self._digests:
            raise ConfigError(f"--api-key-file: {file} holds no key")

    def __repr__(self) -> str:
        return f"ApiKeys({len(self._digests)})"

    def know(self, key: bytes) -> bool:
        """Whether `key` is one of them; takes as long for any key, and compares all."""
        self._look()
        given = _digest(key)
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return any(matches)

    def _look(self) -> None:
        """A file that cannot be read changes nothing; one without keys lets nobody in by it."""
        if self._file is None or not self._watched.have_changed():
            return
        try:
            self._digests = self._own | _read(self._file)
        except (OSError, UnicodeDecodeError):
            _log.warning("--api-key-file cannot be read; the keys from before stay")
            return
        _log.warning("--api-key-file was read again: %d keys", len(self._digests))


def _read(file: Path) -> frozenset[bytes]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return frozenset(_digest(line.encode()) for line in lines if line and line[0] != "#")


def _digest(key: bytes) -> bytes:
    """Of one length for keys of any length."""
    return hashlib.sha256(key).digest()
