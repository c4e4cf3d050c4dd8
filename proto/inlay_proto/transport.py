"""Who may be at the other end between router and shard: a file's owner, or a certificate's."""

import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from inlay_proto.watched_files import WatchedFiles

Report: TypeAlias = Callable[[str], None]
"""Told of a change, in words for the operator."""


class TransportRefused(Exception):
    """The address would let strangers in, or the certificates cannot be used; for the operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """PEM files of one end. Each end shows its certificate and accepts those of the authority."""

    certificate: Path
    """The chain, its own certificate first; a shard's names the host of its address."""
    key: Path
    """Without a password."""
    authority: Path
    """Certificates of those who sign for the other end."""

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """Certificate, key and authority."""
        return self.certificate, self.key, self.authority

    def read(self) -> tuple[bytes, bytes, bytes]:
        """What stands in the files, which belong together. Raises TransportRefused."""
        try:
            certificate, key, authority = (path.read_bytes() for path in self.paths)
        except OSError as error:
            raise TransportRefused(f"{error.filename} cannot be read: {error.strerror}") from None
        self._check()
        return certificate, key, authority

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            load_pair(context, self.certificate, self.key)
        except OSError:
            raise TransportRefused(
                f"{self.certificate} and {self.key} are no certificate and its key"
            ) from None
        try:
            context.load_verify_locations(self.authority)
        except OSError:
            raise TransportRefused(f"{self.authority} holds no certificate") from None


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let `context` show a certificate. Raises OSError, of which SSLError is a kind.

    A key with a password is refused: to ask for it would wait at a terminal that is not there.
    """
    context.load_cert_chain(certificate, key, password=_refuse_password)


def _refuse_password() -> bytes:
    raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the key has a password")


def tls_files(
    certificate: Path | None, key: Path | None, authority: Path | None
) -> TlsFiles | None:
    """The three together; None when there is none. Raises TransportRefused for one or two."""
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None or authority is None:
        raise TransportRefused("a certificate, its key and an authority are needed together")
    return TlsFiles(certificate=certificate, key=key, authority=authority)


def check_address(address: str, tls: TlsFiles | None, *, allows_plain_tcp: bool = False) -> None:
    """Raises TransportRefused for an address at which others could be, or listen, unnoticed.

    A socket file belongs to one user, and the loopback interface to one machine.
    """
    if tls is not None or allows_plain_tcp or _is_of_this_machine(address):
        return
    raise TransportRefused(
        f"{address} can be reached from other machines: certificates for both ends are needed, "
        "or the word that none are"
    )


def _is_of_this_machine(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """What a router shows and asks for. Raises TransportRefused."""
    certificate, key, authority = tls.read()
    return grpc.ssl_channel_credentials(authority, key, certificate)


def server_credentials(tls: TlsFiles, report: Report) -> grpc.ServerCredentials:
    """What a shard shows and asks for; handshakes after a change of the files use the new ones.

    `report` is told of a change, on any thread. Raises TransportRefused.
    """
    watched = WatchedFiles(*tls.paths)

    def newer() -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC for each connection that comes."""
        if not watched.have_changed():
            return None
        try:
            found = _server_configuration(tls)
        except TransportRefused as refusal:
            report(f"its certificates changed and cannot be used, the old ones stay: {refusal}")
            return None
        report("its certificates were read again")
        return found

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(tls), newer, require_client_authentication=True
    )


def _server_configuration(tls: TlsFiles) -> grpc.ServerCertificateConfiguration:
    certificate, key, authority = tls.read()
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)
