"""TLS for HTTP, with a certificate that may be exchanged while the server runs."""

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from inlay_proto.transport import load_pair
from inlay_proto.watched_files import WatchedFiles
from inlay_router.config import ConfigError, RouterConfig

_log = logging.getLogger("inlay.router")


class Certificate:
    """A certificate with its key. Handshakes after a change of the files use the new one, and
    connections that are open go on."""

    def __init__(
        self, certificate: Path, key: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Both PEM; the key without a password. Raises ConfigError when they cannot be used."""
        self._files = (certificate, key)
        try:
            self._watched = WatchedFiles(certificate, key, clock=clock)
            self._current = _context(certificate, key)
        except (OSError, ssl.SSLError) as error:
            words = error.strerror or "they do not belong together"
            raise ConfigError(
                f"--tls-cert {certificate} and --tls-key {key} cannot be used: {words}"
            ) from None

    def context(self) -> ssl.SSLContext:
        """What a listening socket is given, once and for all."""
        outer = _context(*self._files)
        outer.sni_callback = self._choose
        return outer

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, outer: ssl.SSLContext
    ) -> None:
        """At the first message of each client, whether it names a host or not."""
        self._look()
        connection.context = self._current

    def _look(self) -> None:
        if not self._watched.have_changed():
            return
        try:
            self._current = _context(*self._files)
        except (OSError, ssl.SSLError):
            _log.warning("--tls-cert and --tls-key changed and cannot be used; the old ones stay")
            return
        _log.warning("--tls-cert and --tls-key were read again")


def certificate_of(config: RouterConfig) -> Certificate | None:
    """None for plain HTTP. Raises ConfigError when one of the two files is missing."""
    if config.tls_cert is None and config.tls_key is None:
        return None
    if config.tls_cert is None or config.tls_key is None:
        raise ConfigError("--tls-cert and --tls-key are needed together")
    return Certificate(config.tls_cert, config.tls_key)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_pair(context, certificate, key)
    return context
