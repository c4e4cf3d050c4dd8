"""Requests that no cache knows: each has a picture or a grammar of its own, or both."""

import base64
import random
from dataclasses import dataclass
from io import BytesIO

import msgspec
from PIL import Image

PICTURE_SIDE = 64
_WORDS = ("name", "count", "colour", "shape", "size", "place")


@dataclass(frozen=True, kw_only=True)
class SoakRequest:
    """One request, and how its client behaves."""

    data: bytes
    """The whole HTTP request."""
    leaves_after: int | None
    """Events after which the client goes away; None to read to the end."""
    is_slow: bool
    """Whether it pauses between events."""


def soak_request(number: int, host: str) -> SoakRequest:
    """The `number`-th request; equal numbers give equal requests."""
    dice = random.Random(number)
    inputs = f"Tell me of {number}.\n\n"
    if dice.random() < 0.5:
        inputs = f"![]({picture(number)})" * dice.choice((1, 1, 2)) + inputs
    parameters: dict[str, object] = {"max_new_tokens": dice.randint(8, 48)}
    if dice.random() < 0.5:
        parameters["grammar"] = {"type": "json", "value": schema(number, dice)}
        parameters["max_new_tokens"] = 64
    if dice.random() < 0.5:
        parameters |= {"do_sample": True, "temperature": 1.2, "seed": number}
    body = msgspec.json.encode({"inputs": inputs, "parameters": parameters})
    return SoakRequest(
        data=_head(host, len(body)) + body,
        leaves_after=dice.randint(0, 5) if dice.random() < 0.15 else None,
        is_slow=dice.random() < 0.05,
    )


def picture(number: int) -> str:
    """A picture of its own as a data URI."""
    colour = (number & 255, number >> 8 & 255, number >> 16 & 255)
    image = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE), colour)
    image.putpixel((number % PICTURE_SIDE, 0), (255, 255, 255))
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def schema(number: int, dice: random.Random) -> dict[str, object]:
    """A JSON schema of its own, with short answers."""
    name = f"{dice.choice(_WORDS)}_{number}"
    kind = dice.choice(({"type": "boolean"}, {"enum": [number, number + 1]}))
    return {"type": "object", "properties": {name: kind}, "required": [name]}


def _head(host: str, num_bytes: int) -> bytes:
    return (
        f"POST /generate_stream HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {num_bytes}\r\n\r\n"
    ).encode("ascii")
