"""Finds the pictures in a line as people type it, or as a terminal writes a file dropped on it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inlay.terminal import pictures
from inlay.terminal.errors import NotAPicture

_WORD = re.compile(r"""'(?P<single>[^']+)'|"(?P<double>[^"]+)"|(?P<bare>(?:\\.|[^\s\\]|\\$)+)""")
_ESCAPE = re.compile(r"\\(.)")
_PATH_START = ("/", "~/", "./", "../", "file:")
_SUFFIX_END = re.compile(
    rf"(?:{'|'.join(map(re.escape, sorted(pictures.SUFFIXES)))})(?=\s|$)", re.IGNORECASE
)
_PUNCTUATION = "?!.,;:)"


@dataclass(frozen=True, slots=True)
class Text:
    """Words for the model."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that stands at this place."""

    name: str
    """A path, or an address."""


def read_line(line: str) -> list[Text | Picture]:
    """The pieces of a line, in order; texts are stripped and never empty.

    A picture is a path to one (bare, quoted, with spaces escaped or not, or as `file:` URL), or an
    address that ends like one. Raises NotAPicture for what is written as a path to a picture, and
    is not there.
    """
    pieces: list[Text | Picture] = []
    begun = 0
    for start, end, name in _pictures(line):
        _add_text(pieces, line[begun:start])
        pieces.append(Picture(name))
        begun = end
    _add_text(pieces, line[begun:])
    return pieces


def unseen_pictures(pieces: Sequence[Text | Picture]) -> list[str]:
    """Words that look like files of pictures, and are none here."""
    words = [word for piece in pieces if isinstance(piece, Text) for word in piece.text.split()]
    names = (word.rstrip(_PUNCTUATION) for word in words)
    return [name for name in names if pictures.has_suffix(name)]


def unquoted(word: str) -> str:
    """A path as it is meant: without the quotes around it, or without its escapes."""
    word = word.strip()
    found = _WORD.fullmatch(word)
    return _meant(found) if found else word


def _add_text(pieces: list[Text | Picture], text: str) -> None:
    if text := text.strip():
        pieces.append(Text(text))


def _pictures(line: str) -> Iterator[tuple[int, int, str]]:
    """Half-open intervals [start, end) of the line that are pictures, and their names."""
    place = 0
    while found := _WORD.search(line, place):
        start = found.start()
        place = found.end()
        is_word = start == 0 or line[start - 1].isspace()
        picture = _picture(line, found) if is_word else None
        if picture is not None:
            place = picture[0]
            yield start, *picture


def _picture(line: str, found: re.Match[str]) -> tuple[int, str] | None:
    """Where the picture that begins with this word ends, and its name."""
    name = _meant(found)
    if _is_picture(name):
        return found.end(), name
    if found["bare"] is None:
        return None
    bare = name.rstrip(_PUNCTUATION)
    if bare and _is_picture(bare):
        return found.end() - (len(name) - len(bare)), bare
    if name.startswith(_PATH_START) or ("/" in bare and not pictures.is_address(bare)):
        return _with_spaces(line, found.start(), bare)
    return None


def _with_spaces(line: str, start: int, bare: str) -> tuple[int, str] | None:
    """A path whose spaces nobody escaped: as far as makes it a file."""
    for ending in _SUFFIX_END.finditer(line, start):
        name = line[start : ending.end()]
        if pictures.is_picture_file(pictures.local_path(name)):
            return ending.end(), name
    if pictures.has_suffix(bare):
        raise NotAPicture(f"there is no file {pictures.local_path(bare)}")
    return None


def _is_picture(name: str) -> bool:
    if pictures.is_address(name):
        return pictures.is_picture_address(name)
    return pictures.is_picture_file(pictures.local_path(name))


def _meant(found: re.Match[str]) -> str:
    quoted = found["single"] or found["double"]
    return quoted if quoted is not None else _ESCAPE.sub(r"\1", found["bare"])
