"""Local images come from one folder, whatever the URL and the links in it say."""

import os
from pathlib import Path

import pytest

from inlay_router.errors import ValidationError
from inlay_router.images.inspection import ImageLimits
from inlay_router.images.local_images import LocalImageRefused, read_local_image

LIMITS = ImageLimits(max_bytes=10, max_pixels=100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    (folder / "a picture.png").write_bytes(b"image")
    (folder / "below" / "b.png").write_bytes(b"below")
    (folder / "long.png").write_bytes(b"x" * 11)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "pictures-too").mkdir()
    (tmp_path / "pictures-too" / "c.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(folder / "below" / "b.png")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a%20picture.png", b"image"),
        ("below/b.png", b"below"),
        ("below/../below/b.png", b"below"),
        ("link.png", b"below"),
    ],
)
@pytest.mark.parametrize("start", ["file://", "file:", "FILE://localhost"])
def test_files_in_the_folder_are_read(folder: Path, path: str, content: bytes, start: str) -> None:
    assert read_local_image(f"{start}{folder}/{path}", folder, LIMITS) == content


@pytest.mark.parametrize(
    "path",
    [
        "missing.png",
        "../secret.png",
        "%2e%2e/secret.png",
        "..%2Fsecret.png",
        "below/../../secret.png",
        "../pictures-too/c.png",
        "out.png",
        "up/secret.png",
        "up/pictures-too/c.png",
        "pipe.png",
        "below",
        "",
        "a%00.png",
        "a%ff.png",
        "a%20picture.png?x",
        "a%20picture.png#x",
    ],
)
def test_everything_else_is_refused_in_one_sentence(folder: Path, path: str) -> None:
    with pytest.raises(LocalImageRefused) as caught:
        read_local_image(f"file://{folder}/{path}", folder, LIMITS)
    assert str(folder) not in str(caught.value)


@pytest.mark.parametrize("start", ["file://elsewhere", "file://localhost:80", "file://[::1"])
def test_other_hosts_are_refused(folder: Path, start: str) -> None:
    with pytest.raises(LocalImageRefused):
        read_local_image(f"{start}{folder}/below/b.png", folder, LIMITS)


def test_a_relative_path_is_not_read_from_where_the_server_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    with pytest.raises(LocalImageRefused):
        read_local_image("file:secret.png", folder, LIMITS)


def test_a_device_is_refused() -> None:
    with pytest.raises(LocalImageRefused):
        read_local_image("file:///dev/zero", Path("/"), LIMITS)


def test_a_long_file_is_refused_with_the_limit(folder: Path) -> None:
    with pytest.raises(ValidationError, match="Image size 11 bytes exceeds maximum .* 10 bytes"):
        read_local_image(f"file://{folder}/long.png", folder, LIMITS)


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    link = folder.parent / "pictures-link"
    link.symlink_to(folder)
    assert read_local_image(f"file://{link}/below/b.png", link, LIMITS) == b"below"
