from pathlib import Path

import pytest

from inlay.terminal.errors import NotAPicture
from inlay.terminal.pictures import image_kind, is_picture_file, picture_url

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "kind"), [("shapes.png", "png"), ("star.jpg", "jpeg"), ("four.webp", "webp")]
)
def test_a_file_becomes_a_data_uri(name: str, kind: str) -> None:
    assert picture_url(str(EXAMPLES / name)).startswith(f"data:image/{kind};base64,")
    assert picture_url((EXAMPLES / name).as_uri()) == picture_url(str(EXAMPLES / name))


@pytest.mark.parametrize("url", ["https://example.org/any", "DATA:image/png;base64,AA=="])
def test_an_address_stays_as_it_is(url: str) -> None:
    assert picture_url(url) == url


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    file = tmp_path / "fake.png"
    file.write_text("words")
    with pytest.raises(NotAPicture, match="fake.png is no picture: not one of PNG"):
        picture_url(str(file))
    with pytest.raises(NotAPicture, match="there is no file"):
        picture_url(str(tmp_path / "none.png"))
    with pytest.raises(NotAPicture, match="cannot be read: Is a directory"):
        picture_url(str(tmp_path))


def test_formats_are_told_by_their_first_bytes() -> None:
    assert image_kind(b"GIF89a") == "gif"
    assert image_kind(b"II*\0....") == "tiff"
    assert image_kind(b"RIFF....WAVE") is None
    assert image_kind(b"") is None


def test_a_name_that_no_file_can_have_is_no_picture() -> None:
    assert not is_picture_file(Path("x" * 5000))
    assert not is_picture_file(Path("a\0b.png"))
