"""Pictures for engines that take them decoded."""

import io

from PIL import Image


def open_picture(data: bytes | None) -> Image.Image:
    """The decoded picture of a prompt that has one."""
    assert data is not None
    return Image.open(io.BytesIO(data)).convert("RGB")
