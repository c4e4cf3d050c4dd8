"""Cuts the images out of a prompt: `![](url)` in markdown, with TGI's meaning, in linear time."""

from dataclasses import dataclass

from inlay_router.errors import ValidationError
from inlay_router.images import local_images

_OPENING = "![]("
_CLOSING = ")"
_SCHEMES = ("http://", "https://", "data:")
_NUM_QUOTED = 100


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text between images, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePiece:
    """An image that stands at this place."""

    url: str
    """Begins with `http://`, `https://`, `data:` or, where allowed, `file:`, in any case."""


def split(
    inputs: str, *, max_images: int, has_local_images: bool = False
) -> list[TextPiece | ImagePiece]:
    r"""The pieces of a prompt, in order: what the regex `!\\[\\]\\([^\\)]*\\)` matches is an image.

    So the alternative text is empty, a URL ends at the first `)`, and it may span lines.
    Raises ValidationError for a URL of another scheme, and for one image too many.
    """
    num_images = 0
    pieces: list[TextPiece | ImagePiece] = []
    end = 0
    while (start := inputs.find(_OPENING, end)) >= 0:
        stop = inputs.find(_CLOSING, start + len(_OPENING))
        if stop < 0:
            break
        num_images += 1
        if num_images > max_images:
            raise ValidationError(
                f"`inputs` may hold up to {max_images} images. Given: at least {num_images}"
            )
        _add_text(pieces, inputs[end:start])
        url = inputs[start + len(_OPENING) : stop]
        pieces.append(image_at(url, has_local_images=has_local_images))
        end = stop + len(_CLOSING)
    _add_text(pieces, inputs[end:])
    return pieces


def _add_text(pieces: list[TextPiece | ImagePiece], text: str) -> None:
    if text:
        pieces.append(TextPiece(text))


def image_at(url: str, *, has_local_images: bool = False) -> ImagePiece:
    """The image at `url`. Raises ValidationError for a URL of another scheme."""
    schemes = (*_SCHEMES, local_images.SCHEME) if has_local_images else _SCHEMES
    # The longest scheme has 8 characters; a data URI may have millions.
    if not url[:8].lower().startswith(schemes):
        quoted = url if len(url) <= _NUM_QUOTED else f"{url[:_NUM_QUOTED]}…"
        *others, last = schemes
        raise ValidationError(
            f"invalid image content: ![]({quoted}). An image's address begins with "
            f"{', '.join(others)} or {last}"
        )
    return ImagePiece(url)
