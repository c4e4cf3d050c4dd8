"""Pictures and embeddings that a program holds in memory, as pieces of a prompt."""

import base64
import io
from typing import TYPE_CHECKING, Any

from inlay_router.images.image_embeds import EmbedsPiece

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_AS_BMP = frozenset({"RGB", "L"})
"""Modes that a BMP file holds as they are. It is written in 5 ms a megapixel; a PNG file takes
from 16 to 130."""
_AS_PNG = frozenset({"1", "LA", "RGBA", "I", "I;16"})
"""Modes that a PNG file holds as they are."""


def data_uri(image: "Image") -> str:
    """A picture as a data URI without a loss, turned as its EXIF says."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in _AS_PNG and image.mode not in _AS_BMP:
        image = image.convert("RGB")
    file = io.BytesIO()
    kind = "bmp" if image.mode in _AS_BMP else "png"
    image.save(file, kind, compress_level=1)
    return f"data:image/{kind};base64,{base64.b64encode(file.getbuffer()).decode('ascii')}"


def embeds_pieces(embeds: "Tensor") -> list[EmbedsPiece]:
    """One piece for each image of (num_images, image_feature_size, hidden_size), or for the one of
    (image_feature_size, hidden_size). Raises ValueError for another shape."""
    from safetensors.torch import save

    if embeds.ndim not in (2, 3):
        raise ValueError(
            "embeddings of images must have the shape (num_images, image_feature_size, "
            f"hidden_size). Given: {tuple(embeds.shape)}"
        )
    images = embeds if embeds.ndim == 3 else embeds[None]
    return [EmbedsPiece(save({"image_embeds": each.cpu().contiguous()})) for each in images]


def is_picture(value: Any) -> bool:
    """Whether it is a picture of PIL, without importing that for what is none."""
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, without importing that for what is none."""
    return any(
        kind.__module__ in ("torch", "torch._tensor") and kind.__name__ == "Tensor"
        for kind in type(value).__mro__
    )
