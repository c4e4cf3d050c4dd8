"""Router and shard on different machines: certificates on both ends, or nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
import trustme
from listening_shard import ListeningShard
from test_router_main import ended

from inlay_proto import generate_pb2 as pb
from inlay_proto import watched_files
from inlay_proto.generate_pb2_grpc import ShardStub, add_ShardServicer_to_server
from inlay_proto.transport import (
    TlsFiles,
    TransportRefused,
    channel_credentials,
    check_address,
    server_credentials,
    tls_files,
)
from inlay_router.links import remote
from inlay_router.links.remote import RemoteLink


def issue(authority: trustme.CA, name: str, folder: Path, trusted: trustme.CA) -> TlsFiles:
    """Files of one end, signed by `authority`, which believes those that `trusted` signed. Files
    that are there are exchanged."""
    folder.mkdir(exist_ok=True)
    issued = authority.issue_cert(name)
    files = TlsFiles(
        certificate=folder / "cert.pem", key=folder / "key.pem", authority=folder / "ca.pem"
    )
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())
    files.authority.write_bytes(trusted.cert_pem.bytes())
    return files


@asynccontextmanager
async def shard(tls: TlsFiles, reports: list[str] | None = None) -> AsyncIterator[str]:
    """A shard behind TLS; its address. What it says of its certificates is added to `reports`."""
    reports = [] if reports is None else reports
    server = grpc.aio.server()
    add_ShardServicer_to_server(ListeningShard(), server)  # type: ignore[no-untyped-call]
    port = server.add_secure_port("127.0.0.1:0", server_credentials(tls, reports.append))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def is_let_in(address: str, tls: TlsFiles | None) -> bool:
    """Whether the shard says how it is."""
    channel = (
        grpc.aio.insecure_channel(address)
        if tls is None
        else grpc.aio.secure_channel(address, channel_credentials(tls))
    )
    async with channel:
        stub = ShardStub(channel)  # type: ignore[no-untyped-call]
        try:
            return bool((await stub.Health(pb.HealthRequest(), timeout=20)).is_ready)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False


@pytest.mark.parametrize(
    ("shows", "is_in"),
    [("certificate", True), ("nothing", False), ("another's certificate", False)],
)
def test_a_shard_lets_in_who_shows_a_certificate(tmp_path: Path, shows: str, is_in: bool) -> None:
    ours, others = trustme.CA(), trustme.CA()
    shard_files = issue(ours, "127.0.0.1", tmp_path / "shard", ours)
    router_files = {
        "certificate": issue(ours, "router.test", tmp_path / "router", ours),
        "nothing": None,
        "another's certificate": issue(others, "router.test", tmp_path / "stranger", ours),
    }

    async def scenario() -> bool:
        async with shard(shard_files) as address:
            return await is_let_in(address, router_files[shows])

    assert asyncio.run(scenario()) is is_in


@pytest.mark.parametrize("is_ours", [False, True])
def test_a_router_believes_no_stranger(tmp_path: Path, is_ours: bool) -> None:
    """Neither one whom another authority signed for, nor one with another's name."""
    ours, others = trustme.CA(), trustme.CA()
    name = "elsewhere.test" if is_ours else "127.0.0.1"
    shard_files = issue(ours if is_ours else others, name, tmp_path / "shard", ours)
    router_files = issue(ours, "router.test", tmp_path / "router", ours)

    async def scenario() -> bool:
        async with shard(shard_files) as address:
            return await is_let_in(address, router_files)

    assert not asyncio.run(scenario())


def test_a_link_goes_through_certificates(tmp_path: Path) -> None:
    ours = trustme.CA()
    shard_files = issue(ours, "127.0.0.1", tmp_path / "shard", ours)
    router_files = issue(ours, "router.test", tmp_path / "router", ours)

    async def scenario() -> str:
        async with shard(shard_files) as address:
            link = RemoteLink([address], router_files)
            facts = await link.connect()
            await link.close()
            return facts.model_id

    assert asyncio.run(scenario()) == "scripted"


@pytest.fixture
def looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at whenever it is asked, not once a second."""
    monkeypatch.setattr(watched_files, "LOOK_SECONDS", -1.0)


@pytest.mark.usefixtures("looks_always")
def test_certificates_are_exchanged_while_a_shard_runs(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    shard_files = issue(old, "127.0.0.1", tmp_path / "shard", old)
    of_old = issue(old, "router.test", tmp_path / "old", old)
    of_new = issue(new, "router.test", tmp_path / "new", new)
    reports: list[str] = []

    async def scenario() -> None:
        async with shard(shard_files, reports) as address:
            assert await is_let_in(address, of_old)
            issue(new, "127.0.0.1", tmp_path / "shard", new)
            assert await is_let_in(address, of_new)
            assert not await is_let_in(address, of_old)

    asyncio.run(scenario())
    assert reports == ["its certificates were read again"]


@pytest.mark.usefixtures("looks_always")
def test_certificates_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    ours = trustme.CA()
    shard_files = issue(ours, "127.0.0.1", tmp_path / "shard", ours)
    router_files = issue(ours, "router.test", tmp_path / "router", ours)
    reports: list[str] = []

    async def scenario() -> None:
        async with shard(shard_files, reports) as address:
            shard_files.key.write_bytes(router_files.key.read_bytes())
            assert await is_let_in(address, router_files)

    asyncio.run(scenario())
    (words,) = reports
    assert words.startswith("its certificates changed and cannot be used, the old ones stay: ")
    assert words.endswith("are no certificate and its key")


@pytest.mark.usefixtures("looks_always")
@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_link_takes_new_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_waiting: bool
) -> None:
    """When it connects again, and while it waits for shards that answer nobody else."""
    monkeypatch.setattr(remote, "_LOOK_SECONDS", 0.2)
    old, new = trustme.CA(), trustme.CA()
    shard_files = issue(new if is_waiting else old, "127.0.0.1", tmp_path / "shard", new)
    router_files = issue(old, "router.test", tmp_path / "router", old)
    if not is_waiting:
        issue(old, "127.0.0.1", tmp_path / "shard", old)

    async def scenario() -> str:
        async with shard(shard_files) as address:
            link = RemoteLink([address], router_files)
            connecting = asyncio.create_task(link.connect())
            if is_waiting:
                await asyncio.wait([connecting], timeout=0.5)
                assert not connecting.done()
            else:
                await connecting
                issue(new, "127.0.0.1", tmp_path / "shard", new)
            issue(new, "router.test", tmp_path / "router", new)
            facts = await (connecting if is_waiting else link.connect())
            await link.close()
            return facts.model_id

    assert asyncio.run(scenario()) == "scripted"


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("unix:/run/shard.sock", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3:5000", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("0.0.0.0:5000", False),
        ("[::]:5000", False),
        ("10.0.0.1:5000", False),
        ("shard.example:5000", False),
        ("localhost.example:5000", False),
        ("dns:///shard.example:5000", False),
        ("unix-abstract:shard", False),
        (":5000", False),
        ("5000", False),
    ],
)
def test_without_certificates_nobody_is_reached_over_a_network(
    tmp_path: Path, address: str, is_allowed: bool
) -> None:
    authority = trustme.CA()
    check_address(address, issue(authority, "a.test", tmp_path / "files", authority))
    check_address(address, None, allows_plain_tcp=True)
    if is_allowed:
        check_address(address, None)
    else:
        with pytest.raises(TransportRefused, match="certificates for both ends are needed"):
            check_address(address, None)


def test_files_come_together(tmp_path: Path) -> None:
    assert tls_files(None, None, None) is None
    assert tls_files(tmp_path, tmp_path, tmp_path) is not None
    for some in ((tmp_path, None, None), (tmp_path, tmp_path, None), (None, None, tmp_path)):
        with pytest.raises(TransportRefused, match="needed together"):
            tls_files(*some)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    files = TlsFiles(certificate=tmp_path / "a", key=tmp_path / "b", authority=tmp_path / "c")
    with pytest.raises(TransportRefused, match="/a cannot be read: No such file"):
        files.read()


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    ours = trustme.CA()
    files = issue(ours, "a.test", tmp_path / "a", ours)
    files.authority.write_bytes(b"nothing")
    with pytest.raises(TransportRefused, match="/a/ca.pem holds no certificate"):
        files.read()
    files.key.write_bytes(issue(ours, "b.test", tmp_path / "b", ours).key.read_bytes())
    with pytest.raises(TransportRefused, match="/a/key.pem are no certificate and its key"):
        files.read()


def test_a_router_that_would_speak_openly_does_not_start() -> None:
    exit_code, words = ended("192.0.2.1:5000")
    assert exit_code == 78
    assert words.startswith("inlay router: 192.0.2.1:5000 can be reached from other machines: ")
    assert "--allow-plain-tcp" in words
