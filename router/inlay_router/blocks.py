"""The router's account of a replica's KV blocks: which are free, and nothing else."""

from collections.abc import Iterable


class BlockPool:
    """Blocks with ids in [0, num_blocks) that each hold `block_size` tokens of one sequence."""

    def __init__(self, *, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        # The block given back last is taken first: it may still be in a cache of the device.
        self._free_ids = list(range(num_blocks - 1, -1, -1))
        self._is_free = bytearray(b"\1" * num_blocks)

    @property
    def num_free(self) -> int:
        """Blocks that can be allocated now."""
        return len(self._free_ids)

    @property
    def num_used(self) -> int:
        """Blocks that sequences own."""
        return self.num_blocks - self.num_free

    def num_blocks_for(self, num_tokens: int) -> int:
        """Blocks that hold `num_tokens` tokens of one sequence."""
        return -(-num_tokens // self.block_size)

    def can_allocate(self, num_blocks: int) -> bool:
        """Whether so many blocks are free."""
        return num_blocks <= len(self._free_ids)

    def allocate(self, num_blocks: int) -> list[int]:
        """Take blocks; ask `can_allocate` first."""
        assert self.can_allocate(num_blocks), f"{num_blocks} blocks of {self!r}"
        block_ids = [self._free_ids.pop() for _ in range(num_blocks)]
        for block_id in block_ids:
            self._is_free[block_id] = 0
        return block_ids

    def free(self, block_ids: Iterable[int]) -> None:
        """Give blocks back."""
        for block_id in block_ids:
            assert not self._is_free[block_id], f"block {block_id} of {self!r} is free already"
            self._is_free[block_id] = 1
            self._free_ids.append(block_id)

    def __repr__(self) -> str:
        return f"BlockPool({self.num_free} of {self.num_blocks} blocks of {self.block_size} free)"
