"""Who may be at the other end between router and shard: a file's owner, or a certificate's."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc


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

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Certificate, key and authority. Raises TransportRefused."""
        try:
            files = (self.certificate, self.key, self.authority)
            certificate, key, authority = (file.read_bytes() for file in files)
        except OSError as error:
            raise TransportRefused(f"{error.filename} cannot be read: {error.strerror}") from None
        return certificate, key, authority


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


def server_credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """What a shard shows and asks for. Raises TransportRefused."""
    certificate, key, authority = tls.read()
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
