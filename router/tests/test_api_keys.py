"""Several keys, and files of keys that change under a running server."""

import asyncio
import logging
import os
from pathlib import Path

import pytest
from scripted_router import serve

from inlay_router.config import ConfigError, RouterConfig
from inlay_router.doors.api_keys import ApiKeys


class Clock:
    """Goes on by two seconds whenever it is looked at."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 2.0
        return self._now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("# who\nfirst\n\n  second  \nключ\n")
    return path


def exchange(file: Path, text: str) -> None:
    """As careful operators do it: another file takes the place of the old one."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


@pytest.mark.parametrize(
    ("key", "is_known"),
    [("first", True), ("second", True), ("ключ", True), ("own", True)]
    + [(key, False) for key in ("", "third", "# who", "FIRST", "first ", "firs", "first\nsecond")],
)
def test_every_key_of_the_file_opens(file: Path, key: str, is_known: bool) -> None:
    assert ApiKeys("own", file).know(key.encode()) is is_known


def test_a_file_that_changed_is_read_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = ApiKeys("own", file, clock=Clock())
    assert keys.know(b"first")
    with caplog.at_level(logging.WARNING):
        exchange(file, "new\n")
        assert keys.know(b"new")
    assert not keys.know(b"first")
    assert keys.know(b"own")
    assert "new" not in caplog.text
    assert repr(keys) == "ApiKeys(2)"


def test_a_file_without_keys_lets_nobody_in(file: Path) -> None:
    keys = ApiKeys(None, file, clock=Clock())
    exchange(file, "# nobody\n")
    assert not keys.know(b"first")
    assert not keys.know(b"")


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_read_changes_nothing(file: Path, damage: object) -> None:
    keys = ApiKeys(None, file, clock=Clock())
    assert callable(damage)
    damage(file)
    assert keys.know(b"first")
    exchange(file, "later\n")
    assert keys.know(b"later") and not keys.know(b"first")


@pytest.mark.parametrize("text", [None, "", "# none\n"])
def test_a_server_without_its_keys_does_not_start(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="--api-key-file: .*keys"):
        ApiKeys(None, path)


def test_keys_are_in_no_text(file: Path) -> None:
    config = RouterConfig(shard_addresses=(), api_key="s3cret", api_key_file=file)
    assert "s3cret" not in repr(config)
    shown = repr(vars(ApiKeys("s3cret", file)))
    assert "s3cret" not in shown and "first" not in shown


def test_the_file_guards_a_running_server(file: Path) -> None:
    async def scenario() -> None:
        async with serve(api_key_file=file) as edge, edge.client as client:
            for header, status in ((None, 401), ("Bearer third", 401), ("Bearer second", 200)):
                headers = {} if header is None else {"authorization": header}
                response = await client.post("/generate", json={"inputs": "a"}, headers=headers)
                assert response.status_code == status
                assert "second" not in response.text

    asyncio.run(scenario())
