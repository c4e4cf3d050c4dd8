"""The router's account of a replica's KV blocks: who owns which, and what can be found in them."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class BlockPool:
    """Blocks with ids in [0, num_blocks) that each hold `block_size` tokens.

    A block is one of three:

        owned   sequences have it in their tables; more than one only if it is full and has a key
        idle    nobody owns it, but what was computed into it can still be found under its key
        blank   nobody owns it and it has no key

    Idle and blank ones are free. Blank ones are given out first, then those idle the longest.
    """

    def __init__(self, *, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        # The block given back last is taken first: it may still be in a cache of the device.
        self._blank_ids = list(range(num_blocks - 1, -1, -1))
        self._idle_ids: OrderedDict[int, None] = OrderedDict()  # idle the longest first
        self._num_owners = [0] * num_blocks
        self._keys: list[bytes | None] = [None] * num_blocks
        self._ids: dict[bytes, int] = {}  # by key; the inverse of `_keys`

    @property
    def num_free(self) -> int:
        """Blocks that can be allocated now."""
        return len(self._blank_ids) + len(self._idle_ids)

    @property
    def num_used(self) -> int:
        """Blocks that sequences own."""
        return self.num_blocks - self.num_free

    @property
    def num_idle(self) -> int:
        """Free blocks whose content can still be found."""
        return len(self._idle_ids)

    def num_blocks_for(self, num_tokens: int) -> int:
        """Blocks that hold `num_tokens` tokens of one sequence."""
        return -(-num_tokens // self.block_size)

    def can_allocate(self, num_blocks: int, *, beside: Iterable[int] = ()) -> bool:
        """Whether so many blocks are free, not counting those of `beside` that are."""
        num_taken = sum(not self._num_owners[block_id] for block_id in beside)
        return num_blocks + num_taken <= self.num_free

    def allocate(self, num_blocks: int) -> list[int]:
        """Take blocks; ask `can_allocate` first. What idle ones hold cannot be found any more."""
        assert self.can_allocate(num_blocks), f"{num_blocks} blocks of {self!r}"
        block_ids = [self._take() for _ in range(num_blocks)]
        for block_id in block_ids:
            self._num_owners[block_id] = 1
        return block_ids

    def _take(self) -> int:
        if self._blank_ids:
            return self._blank_ids.pop()
        block_id, _ = self._idle_ids.popitem(last=False)
        self._erase_key(block_id)
        return block_id

    def find(self, keys: Iterable[bytes]) -> list[int]:
        """The blocks that hold the first of these keys, up to the first key that is not there."""
        block_ids = []
        for key in keys:
            if (block_id := self._ids.get(key)) is None:
                break
            block_ids.append(block_id)
        return block_ids

    def has(self, key: bytes) -> bool:
        """Whether `find` gives a block for this key."""
        return key in self._ids

    def share(self, block_ids: Iterable[int]) -> None:
        """Own blocks that `find` gave, beside whoever owns them already."""
        for block_id in block_ids:
            if not self._num_owners[block_id]:
                del self._idle_ids[block_id]
            self._num_owners[block_id] += 1

    def publish(self, block_id: int, key: bytes) -> None:
        """Let an owned block be found, unless another one with the same content can be already."""
        assert self._num_owners[block_id], f"block {block_id} of {self!r} has no owner"
        if key not in self._ids and self._keys[block_id] is None:
            self._ids[key] = block_id
            self._keys[block_id] = key

    def free(self, block_ids: Sequence[int]) -> None:
        """Give the blocks of a sequence back, in its order.

        The last becomes idle first, so that what is forgotten first is the end of a prefix.
        """
        for block_id in reversed(block_ids):
            assert self._num_owners[block_id], f"block {block_id} of {self!r} has no owner"
            self._num_owners[block_id] -= 1
            if self._num_owners[block_id]:
                continue
            if self._keys[block_id] is None:
                self._blank_ids.append(block_id)
            else:
                self._idle_ids[block_id] = None

    def forget(self, block_ids: Iterable[int]) -> None:
        """Let blocks that somebody owns be found no more."""
        for block_id in block_ids:
            assert self._num_owners[block_id], f"block {block_id} of {self!r} has no owner"
            if self._keys[block_id] is not None:
                self._erase_key(block_id)

    def _erase_key(self, block_id: int) -> None:
        key, self._keys[block_id] = self._keys[block_id], None
        assert key is not None
        del self._ids[key]

    def __repr__(self) -> str:
        return (
            f"BlockPool({self.num_free} of {self.num_blocks} blocks of {self.block_size} free,"
            f" {self.num_idle} of them idle)"
        )
