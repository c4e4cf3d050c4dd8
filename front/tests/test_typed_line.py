from pathlib import Path

import pytest

from inlay.terminal.errors import NotAPicture
from inlay.terminal.typed_line import Picture, Text, read_line, unquoted, unseen_pictures

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures with names of all sorts, around the current folder."""
    for name in ("a.png", "my pic.JPG", "it's.webp", "notes.txt", "ab (1).png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "unnamed").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "written",
    [
        "{folder}/my\\ pic.JPG",  # how macOS' and KDE's terminals drop a file
        "'{folder}/my pic.JPG'",  # GNOME's
        '"{folder}/my pic.JPG"',
        "file://{folder}/my%20pic.JPG",
        "{folder}/my pic.JPG",
        "~/my pic.JPG",
        "'my pic.JPG'",
        "./my\\ pic.JPG",
    ],
)
def test_a_dropped_file_is_a_picture_in_every_spelling(folder: Path, written: str) -> None:
    line = f"{written.format(folder=folder)} What is it?"
    picture, text = read_line(line)
    assert isinstance(picture, Picture)
    assert picture.name.replace("%20", " ").endswith("my pic.JPG")
    assert text == Text("What is it?")


def test_pictures_stand_where_they_were_typed(folder: Path) -> None:
    line = "Is a.png like unnamed? Or like https://x.org/b.jpeg?size=1 here"
    assert read_line(line) == [
        Text("Is"),
        Picture("a.png"),
        Text("like"),
        Picture("unnamed"),
        Text("? Or like"),
        Picture("https://x.org/b.jpeg?size=1"),
        Text("here"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "What's in 'it'?",
        'say "hello" and \\n',
        "read notes.txt, or /etc/hostname",
        "see https://example.org/page",
        "data:text/plain,hello",
        "missing.png is a word like others",
        "a backslash at the end \\",
        "'",
    ],
)
def test_words_stay_words(folder: Path, line: str) -> None:
    assert read_line(line) == [Text(line)]


def test_parentheses_and_apostrophes_are_letters_of_a_name(folder: Path) -> None:
    assert read_line("ab\\ \\(1\\).png it\\'s.webp") == [
        Picture("ab (1).png"),
        Picture("it's.webp"),
    ]
    assert read_line('"it\'s.webp"') == [Picture("it's.webp")]


def test_a_path_that_leads_nowhere_is_said(folder: Path) -> None:
    with pytest.raises(NotAPicture, match=r"there is no file /nowhere/x\.png"):
        read_line("/nowhere/x.png What is it?")


def test_a_name_with_a_folder_is_a_path(folder: Path) -> None:
    with pytest.raises(NotAPicture, match=r"there is no file trips/sea\.png"):
        read_line("trips/sea.png, where was it?")
    assert read_line("trips/sea or trips/wood?") == [Text("trips/sea or trips/wood?")]


def test_words_that_look_like_pictures_are_found(folder: Path) -> None:
    pieces = read_line("Is a.png like sea.PNG, or wood.jpg? Not notes.txt.")
    assert unseen_pictures(pieces) == ["sea.PNG", "wood.jpg"]


def test_a_line_of_white_space_has_no_pieces() -> None:
    assert read_line("  \t") == []


def test_the_argument_of_a_command_may_be_dropped_too() -> None:
    assert unquoted(" '/a b/c.png' ") == "/a b/c.png"
    assert unquoted("/a\\ b/c.png") == "/a b/c.png"
    assert unquoted("/a b/c.png") == "/a b/c.png"
