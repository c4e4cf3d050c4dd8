"""From what a person calls a picture to the URL that a request carries."""

import base64
from pathlib import Path
from urllib.parse import unquote, urlsplit

from inlay.terminal.errors import NotAPicture

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
FORMATS = "PNG, JPEG, WebP, GIF, BMP or TIFF"

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)
_WEB_SCHEMES = ("http://", "https://")


def has_suffix(name: str) -> bool:
    """Whether a path or an address ends like a picture."""
    return Path(name).suffix.lower() in SUFFIXES


def is_address(name: str) -> bool:
    """Whether a server fetches, or decodes, what has this name."""
    return name[:8].lower().startswith((*_WEB_SCHEMES, "data:"))


def is_picture_address(name: str) -> bool:
    """An address that is a picture by its looks: a data URI of one, or a path that ends so."""
    if name[:11].lower() == "data:image/":
        return True
    return is_address(name) and has_suffix(urlsplit(name).path)


def local_path(name: str) -> Path:
    """The file behind a path or a `file:` URL, the home folder written out."""
    if name[:5].lower() == "file:":
        return Path(unquote(urlsplit(name).path))
    return Path(name).expanduser()


def picture_url(name: str) -> str:
    """What a request carries: addresses as they are, a file as a data URI. Raises NotAPicture."""
    return name if is_address(name) else data_uri(local_path(name))


def data_uri(path: Path) -> str:
    """The file as a data URI. Raises NotAPicture."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotAPicture(f"there is no file {path}") from None
    except OSError as error:
        raise NotAPicture(f"{path} cannot be read: {error.strerror}") from None
    kind = image_kind(data)
    if kind is None:
        raise NotAPicture(f"{path} is no picture: not one of {FORMATS}")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def image_kind(data: bytes) -> str | None:
    """The format by its first bytes, as in `image/png`; None for what is no picture."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)


def is_picture_file(path: Path) -> bool:
    """Whether a file is there that is a picture, or pretends to be one by its name."""
    try:
        if not path.is_file():
            return False
        if has_suffix(path.name):
            return True
        with path.open("rb") as file:
            return image_kind(file.read(16)) is not None
    except (OSError, ValueError):  # no permission; a name too long or with a null character
        return False
