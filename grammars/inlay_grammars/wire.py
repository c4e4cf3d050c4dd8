"""Messages between the compile pool and its process: JSON behind its length in four bytes."""

import json
import struct
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    body = json.dumps(message).encode()
    return LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message behind a length."""
    message: Message = json.loads(body)
    return message


def read(stream: BinaryIO) -> Message | None:
    """The next message, waiting for it; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return decode(body) if len(body) == length else None
