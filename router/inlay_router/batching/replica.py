"""What the batcher must know of the replica whose steps it makes."""

import sys
from dataclasses import dataclass, field
from typing import Self

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.blocks import BlockPool


def _no_blocks() -> BlockPool:
    return BlockPool(num_blocks=0, block_size=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replica:
    """One life of a replica: it begins with no sequence, and nothing in its blocks."""

    pool: BlockPool = field(default_factory=_no_blocks)
    """The account of its blocks."""
    device: str = "cpu"
    """As torch names it."""
    has_whole_images: bool = False
    """Whether no step may end within an image, because its tokens see each other both ways."""
    can_share_blocks: bool = True
    """Whether a sequence can go on behind blocks that another one computed."""
    max_sequences: int = sys.maxsize
    """Sequences that may run at a time, beside what its blocks allow."""

    @classmethod
    def of(cls, facts: pb.ModelFacts) -> Self:
        """A replica that has just been connected."""
        return cls(
            pool=BlockPool(num_blocks=facts.num_blocks, block_size=facts.block_size),
            device=facts.device,
            has_whole_images=facts.bidirectional_images,
            can_share_blocks=not facts.is_recurrent,
            max_sequences=facts.max_sequences or sys.maxsize,
        )
