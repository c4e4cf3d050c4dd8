"""Embeddings that stand for images, as clients send them: a safetensors file with one tensor."""

import base64
import binascii
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from msgspec import Struct

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError
from inlay_router.markdown import ImagePiece

MEDIA_TYPE = "application/vnd.inlay.image-embeds"
"""Of a data URI whose data are such a file."""
FIELD = "`image_embeds`"
"""What refusals call it where nothing more is known of its place."""

EMBEDS_REFUSED = "`image_embeds` are not taken: this server runs without --allow-image-embeds"

_DTYPES = {"F32": ("float32", 4), "BF16": ("bfloat16", 2), "F16": ("float16", 2)}
"""By their names in the file: their names on the wire, and the bytes of a number."""
_MAX_HEADER_BYTES = 16 << 10
"""One tensor is described in less than 100."""
_PICKLES = (b"PK\x03\x04", b"\x80")
"""How files of `torch.save` begin."""


@dataclass(frozen=True, slots=True)
class EmbedsPiece:
    """Images that stand at this place, one behind the other, as embeddings."""

    data: bytes | str
    """A safetensors file whose only tensor has the shape (num_images, image_feature_size,
    hidden_size), or (image_feature_size, hidden_size) for one image; or its base64."""
    path: str = FIELD
    """What refusals call it."""


SeenPiece: TypeAlias = ImagePiece | EmbedsPiece
"""What a model sees at a place of a prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedsLimits:
    """How much embeddings may be."""

    max_bytes: int
    """Of the file."""
    max_images: int
    max_tokens: int
    """Of one image."""


class _Refusal(Exception):
    """What is wrong, to be said behind the name of the field."""


class _Tensor(Struct, frozen=True):
    """What a safetensors file says of a tensor."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def is_embeds_uri(url: str) -> bool:
    """Whether this is a data URI whose data are embeddings."""
    start = f"data:{MEDIA_TYPE}"
    return url[: len(start)].lower() == start


def read_image_embeds(piece: EmbedsPiece, limits: EmbedsLimits) -> list[pb.ImageEmbeds]:
    """The embeddings of each image.

    Takes the time of hashing: call it from a thread. That the numbers are finite, and as many as
    the model takes, is for the shard to see. Raises ValidationError.
    """
    try:
        data = piece.data if isinstance(piece.data, bytes) else _decode(piece.data)
        _check_size(data, limits)
        tensor, start = _read_header(data)
        return list(_images(tensor, memoryview(data)[start:], limits))
    except _Refusal as refusal:
        raise ValidationError(f"{piece.path} {refusal}") from None


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Refusal("must be base64, with its padding and nothing else") from None


def _check_size(data: bytes, limits: EmbedsLimits) -> None:
    if len(data) > limits.max_bytes:
        raise _Refusal(f"must have <= {limits.max_bytes} bytes. Given: {len(data)}")
    if data.startswith(_PICKLES):
        raise _Refusal(
            "must be a safetensors file, as `safetensors.torch.save` writes it. "
            "Given: a file of `torch.save`, which is a pickle and is not read"
        )


def _read_header(data: bytes) -> tuple[_Tensor, int]:
    """The only tensor of the file, and where its numbers begin."""
    num_bytes = int.from_bytes(data[:8], "little")
    start = 8 + num_bytes
    if num_bytes > _MAX_HEADER_BYTES or start > len(data):
        raise _Refusal(f"must be a safetensors file. Given: {len(data)} bytes of no such")
    try:
        entries = msgspec.json.decode(data[8:start], type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = [msgspec.json.decode(entry, type=_Tensor) for entry in entries.values()]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _Refusal("must be a safetensors file. Given: one with a bad header") from None
    if len(tensors) != 1:
        raise _Refusal(f"must hold one tensor. Given: {len(tensors)}")
    return tensors[0], start


def _images(tensor: _Tensor, numbers: memoryview, limits: EmbedsLimits) -> Iterator[pb.ImageEmbeds]:
    dtype, num_bytes = _dtype(tensor)
    num_images, num_tokens, width = _shape(tensor, limits)
    size = num_tokens * width * num_bytes
    if tensor.data_offsets != (0, len(numbers)) or num_images * size != len(numbers):
        raise _Refusal(
            f"must have as many bytes as its shape says, {num_images * size}. Given: {len(numbers)}"
        )
    for start in range(0, len(numbers), size):
        embeds = pb.ImageEmbeds(
            data=bytes(numbers[start : start + size]),
            dtype=dtype,
            num_tokens=num_tokens,
            width=width,
        )
        embeds.digest = _digest(embeds)
        yield embeds


def _dtype(tensor: _Tensor) -> tuple[str, int]:
    if tensor.dtype not in _DTYPES:
        raise _Refusal(
            f"must be numbers of the type {', '.join(_DTYPES)}. Given: {tensor.dtype[:20]}"
        )
    return _DTYPES[tensor.dtype]


def _shape(tensor: _Tensor, limits: EmbedsLimits) -> tuple[int, int, int]:
    """(num_images, image_feature_size, hidden_size), each at least 1 and within the limits."""
    shape = tensor.shape if len(tensor.shape) == 3 else [1, *tensor.shape]
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > limits.max_bytes:
        raise _Refusal(
            "must have the shape (num_images, image_feature_size, hidden_size) or "
            f"(image_feature_size, hidden_size). Given: {tuple(tensor.shape[:5])}"
        )
    num_images, num_tokens, width = shape
    if num_images > limits.max_images:
        raise _Refusal(f"may hold up to {limits.max_images} images. Given: {num_images}")
    if num_tokens > limits.max_tokens:
        raise _Refusal(f"must have <= {limits.max_tokens} embeddings an image. Given: {num_tokens}")
    return num_images, num_tokens, width


def _digest(embeds: pb.ImageEmbeds) -> bytes:
    kind = f"{embeds.dtype} {embeds.num_tokens} {embeds.width}\n"
    return hashlib.sha256(kind.encode() + embeds.data).digest()
