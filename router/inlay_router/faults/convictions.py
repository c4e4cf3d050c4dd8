"""Remembers what killed the replica, so that asking again does not kill it again."""

import hashlib
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable

from inlay_proto import generate_pb2 as pb
from inlay_router.request import GenerationRequest

CONVICTION_SECONDS = 600.0
"""Somebody may have been at the wrong place at the wrong time, so nothing is held for ever."""
_NUM_CONVICTIONS_MAX = 256


class Convictions:
    """Names of prompts that were found guilty, for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()  # by name; the oldest first

    def __repr__(self) -> str:
        return f"Convictions({len(self._until)})"

    def add(self, name: bytes) -> None:
        """Guilty."""
        self._until[name] = self._clock() + CONVICTION_SECONDS
        if len(self._until) > _NUM_CONVICTIONS_MAX:
            self._until.popitem(last=False)

    def holds(self, name: Callable[[], bytes]) -> bool:
        """Whether that name is convicted. It is asked for only when there are convictions."""
        while self._until and next(iter(self._until.values())) <= self._clock():
            self._until.popitem(last=False)
        return bool(self._until) and name() in self._until


def name_of_sequence(request: GenerationRequest) -> bytes:
    """The same for requests that the model computes alike, whatever they draw."""
    grammar = b"" if request.grammar is None else request.grammar.value.encode()
    token_ids = array("I", request.prompt.token_ids).tobytes()
    return _digest(token_ids, request.prompt.features_key, grammar)


def name_of_preparation(request: pb.PrepareRequest) -> bytes:
    """The same for prompts of equal texts and images."""
    return _digest(*(_name_of_chunk(chunk) for chunk in request.chunks))


def _name_of_chunk(chunk: pb.Chunk) -> bytes:
    match chunk.WhichOneof("content"):
        case "image":
            return chunk.image.digest
        case "embeds":
            return chunk.embeds.digest
        case _:
            return chunk.text.encode()


def _digest(*parts: bytes) -> bytes:
    """SHA-256 over parts and their lengths."""
    lengths = b"".join(len(part).to_bytes(8) for part in parts)
    return hashlib.sha256(lengths + b"".join(parts)).digest()
