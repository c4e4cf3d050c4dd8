"""HTTPS, and certificates that are exchanged while connections are open."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
import uvloop

from inlay_router.config import ConfigError, RouterConfig
from inlay_router.doors.tls import Certificate, certificate_of


class Clock:
    """Goes on by two seconds whenever it is looked at."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 2.0
        return self._now


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def write(issued: trustme.LeafCert, folder: Path) -> tuple[Path, Path]:
    """Certificate and key, each put in the place of an older one in one go."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    for path, blobs in ((certificate, issued.cert_chain_pems), (key, [issued.private_key_pem])):
        new = path.with_suffix(".new")
        new.write_bytes(b"".join(blob.bytes() for blob in blobs))
        os.replace(new, path)
    return certificate, key


@asynccontextmanager
async def echoing(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that repeats each line; its port."""

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(repeat, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


class Client:
    """An open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, line: bytes) -> bytes:
        """What comes back."""
        self._writer.write(line)
        return await self._reader.readline()

    @property
    def names(self) -> list[str]:
        """In the server's certificate."""
        shown = self._writer.get_extra_info("peercert")
        return [str(name) for _, name in shown["subjectAltName"]]

    async def close(self) -> None:
        """The end."""
        self._writer.close()
        await self._writer.wait_closed()


async def connect(port: int, authority: trustme.CA) -> Client:
    """A client that trusts the authority, and whatever name the certificate has."""
    trust = ssl.create_default_context()
    trust.check_hostname = False
    authority.configure_trust(trust)
    return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=trust))


def test_a_certificate_is_exchanged_and_connections_go_on(
    tmp_path: Path, authority: trustme.CA
) -> None:
    files = write(authority.issue_cert("old.test"), tmp_path)

    async def scenario() -> None:
        certificate = Certificate(*files, clock=Clock())
        async with echoing(certificate.context()) as port:
            before = await connect(port, authority)
            assert before.names == ["old.test"]
            write(authority.issue_cert("new.test"), tmp_path)
            behind = await connect(port, authority)
            assert behind.names == ["new.test"]
            assert await before.say(b"still here\n") == b"still here\n"
            await before.close()
            await behind.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_files_that_do_not_belong_together_change_nothing(
    tmp_path: Path, authority: trustme.CA
) -> None:
    certificate_file, key_file = write(authority.issue_cert("old.test"), tmp_path)

    async def scenario() -> None:
        certificate = Certificate(certificate_file, key_file, clock=Clock())
        async with echoing(certificate.context()) as port:
            key_file.write_bytes(authority.issue_cert("a.test").private_key_pem.bytes())
            client = await connect(port, authority)
            assert client.names == ["old.test"]
            await client.close()

    asyncio.run(scenario())


def test_old_versions_are_refused(tmp_path: Path, authority: trustme.CA) -> None:
    files = write(authority.issue_cert("old.test"), tmp_path)
    assert Certificate(*files).context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_what_cannot_be_used_is_said_at_the_start(tmp_path: Path, authority: trustme.CA) -> None:
    certificate, key = write(authority.issue_cert("old.test"), tmp_path)
    missing = tmp_path / "missing.pem"
    other = tmp_path / "other.pem"
    other.write_bytes(authority.issue_cert("a.test").private_key_pem.bytes())
    for pair in ((certificate, missing), (missing, key), (certificate, other), (key, certificate)):
        with pytest.raises(ConfigError, match="--tls-cert .* cannot be used: "):
            Certificate(*pair)


def test_one_file_without_the_other_is_refused(tmp_path: Path) -> None:
    assert certificate_of(RouterConfig(shard_addresses=())) is None
    for name in ("tls_cert", "tls_key"):
        with pytest.raises(ConfigError, match="needed together"):
            certificate_of(RouterConfig(shard_addresses=(), **{name: tmp_path}))  # type: ignore[arg-type]
