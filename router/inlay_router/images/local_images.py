"""Reads images from one folder of this machine, for operators who allow it."""

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from inlay_router.errors import ValidationError
from inlay_router.images.inspection import ImageLimits, check_size

SCHEME = "file:"


class LocalImageRefused(ValidationError):
    """A `file:` URL leads nowhere that may be read; the words do not say what there is."""

    def __init__(self) -> None:
        super().__init__(
            "Could not read image: its file: URL names no readable file in the allowed folder"
        )


def read_local_image(url: str, folder: Path, limits: ImageLimits) -> bytes:
    """The file behind `file:///path`, which lies in `folder` once every symbolic link is followed.

    Takes the time of the disk: call it from a thread. Raises ValidationError, with one sentence for
    what is missing, outside, or no regular file, so that nobody can ask which files exist.
    """
    try:
        return _read(_path(url), folder, limits)
    except (OSError, ValueError):
        raise LocalImageRefused from None


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise LocalImageRefused
    return Path(unquote(parts.path, errors="strict"))


def _read(path: Path, folder: Path, limits: ImageLimits) -> bytes:
    """Checks the name before it is opened, and what was opened: a link may change in between."""
    real = path.resolve(strict=True)
    if not path.is_absolute() or not real.is_relative_to(folder.resolve()):
        raise LocalImageRefused
    # O_NONBLOCK: to open a pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(real, flags), "rb") as file:
        found = os.fstat(file.fileno())
        is_same = real.resolve(strict=True) == real and os.path.samestat(found, os.lstat(real))
        if not stat.S_ISREG(found.st_mode) or not is_same:
            raise LocalImageRefused
        check_size(found.st_size, limits)
        data = file.read(limits.max_bytes + 1)
        check_size(len(data), limits)
        return data
