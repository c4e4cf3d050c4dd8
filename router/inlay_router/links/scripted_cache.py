"""The KV cache of a scripted shard: which token id, and which image, stands in each slot."""

from dataclasses import dataclass, field

from inlay_proto import generate_pb2 as pb


@dataclass(slots=True)
class HeldSequence:
    """A sequence as the scripted shard keeps it."""

    joined: pb.Sequence
    token_ids: list[int]
    images: dict[int, bytes]
    """What stands at positions of images."""
    block_ids: list[int] = field(default_factory=list)
    num_computed: int = 0
    num_forced: int = 0
    """Tokens at the end that were forced, and that nobody was told of yet."""


class ScriptedCache:
    """Slots by block and offset. An AssertionError says where a block table is wrong."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._contents: dict[tuple[int, int], tuple[int, bytes]] = {}

    def write(self, held: HeldSequence, end: int) -> None:
        """The tokens of the sequence from the first that is not computed up to `end`."""
        for position in range(held.num_computed, end):
            content = held.token_ids[position], held.images.get(position, b"")
            self._contents[self._slot(held, position)] = content

    def read(self, held: HeldSequence) -> list[int]:
        """The computed tokens that the sequence finds in its blocks, with images that must be its
        own."""
        context = []
        for position in range(held.num_computed):
            token_id, image = self._contents[self._slot(held, position)]
            assert image == held.images.get(position, b""), f"another image in {held!r}"
            context.append(token_id)
        return context

    def _slot(self, held: HeldSequence, position: int) -> tuple[int, int]:
        index, offset = divmod(position, self._block_size)
        assert index < len(held.block_ids), f"no block for position {position} of {held!r}"
        return held.block_ids[index], offset
