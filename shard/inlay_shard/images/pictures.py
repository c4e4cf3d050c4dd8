"""From an encoded image file to upright RGB pixels."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
from PIL import Image, ImageOps

from inlay_shard.errors import PreparationRefused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What is read; Pillow knows many more, some by starting other programs."""
_TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")


def read_picture(data: bytes) -> Image.Image:
    """The first frame, turned as EXIF says, over white where it is transparent, in RGB.

    Raises PreparationRefused when `data` is no image that can be decoded, in words of our own:
    those of a decoder may tell of its memory.
    """
    # The router bounds the pixels, and the system the memory of the process that this runs in.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            with silence() if image.format == "TIFF" else nullcontext():
                image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except MemoryError as error:
        raise PreparationRefused("the image is too large to decode") from error
    except Exception as error:
        words = "truncated" if "truncated" in str(error) else "damaged"
        raise PreparationRefused(f"the image cannot be decoded: it is {words}") from error


@contextmanager
def silence() -> Iterator[None]:
    """Within, what this process writes to standard error is lost, whoever writes it: libtiff says
    there what it thinks of a file, in lines that any client can cause."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of PIL as RGB; 16-bit grey is scaled to 8 bits, not cut off."""
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bits(image)
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
