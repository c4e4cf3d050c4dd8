"""Pictures as cameras make them: several megapixels, as JPEG."""

import base64
import io
from random import Random

from PIL import Image, ImageDraw

LARGE_SIZE = (2048, 1536)  # pixels
NUM_BOXES = 200
QUALITY = 90


def draw_large_picture(random: Random, size: tuple[int, int] = LARGE_SIZE) -> bytes:
    """A JPEG of coloured boxes over a grain that costs a decoder as much as a photograph does."""
    small = Image.frombytes("RGB", (256, 192), random.randbytes(256 * 192 * 3))
    picture = small.resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    for _ in range(NUM_BOXES):
        left, top = random.randrange(size[0]), random.randrange(size[1])
        colour = tuple(random.randbytes(3))
        canvas.rectangle((left, top, left + 80, top + 60), fill=colour)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def markdown(picture: bytes) -> str:
    """As an HTTP client sends it."""
    return f"![](data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')})"
