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


def read(pipe: BinaryIO) -> Message | None:
    """The next message of an unbuffered pipe, waiting for it; None if the other end closed it."""
    head = _read_exactly(pipe, LENGTH.size)
    if head is None:
        return None
    body = _read_exactly(pipe, LENGTH.unpack(head)[0])
    return None if body is None else decode(body)


def _read_exactly(pipe: BinaryIO, num_bytes: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < num_bytes:
        part = pipe.read(num_bytes - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
