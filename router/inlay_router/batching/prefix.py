"""What sequences computed, kept findable by content for the next prompt with the same beginning."""

from itertools import islice, takewhile
from typing import NamedTuple

from inlay_router.batching.block_keys import extend_keys, placed_images
from inlay_router.batching.chunks import place_around
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence


class Awaited(NamedTuple):
    """What a sequence finds if it waits."""

    key: bytes
    """Of the last block; those before it are computed before it."""
    num_tokens: int
    """In all of them, which are more than can be found now."""


class PrefixCache:
    """Finds the blocks of a pool that hold the first tokens of a sequence.

    A block can be found once the result of the step that filled it is back, and until the pool
    gives it to another owner. A new pool knows nothing. From when a sequence is given blocks, what
    it will compute into them is *promised*, until it can be found or the sequence leaves.
    """

    def __init__(self, replica: Replica, *, is_on: bool) -> None:
        self._pool = replica.pool
        self._has_whole_images = replica.has_whole_images
        self._is_on = is_on
        self._promised: dict[bytes, Sequence] = {}  # who computes it, by key

    def find(self, sequence: Sequence) -> list[int]:
        """Blocks that hold the first tokens of a waiting sequence, in order.

        They never hold all of its tokens, because the last one's logits are needed; and none when
        log-probabilities of the prompt are wanted, which only computing it gives.
        """
        if not self._is_on or sequence.request.wants_prompt_logprobs:
            return []
        num_blocks = self._num_blocks_before_last_token(sequence)
        self._extend_keys(sequence, num_blocks)
        block_ids = self._pool.find(islice(sequence.block_keys, num_blocks))
        return block_ids[: self._without_part_of_image(sequence, len(block_ids))]

    def _num_blocks_before_last_token(self, sequence: Sequence) -> int:
        return (len(sequence.token_ids) - 1) // self._pool.block_size

    def _without_part_of_image(self, sequence: Sequence, num_blocks: int) -> int:
        if not self._has_whole_images:
            return num_blocks
        block_size, places = self._pool.block_size, sequence.request.prompt.places
        while (place := place_around(places, num_blocks * block_size)) is not None:
            num_blocks = place.start // block_size
        return num_blocks

    def awaited(self, sequence: Sequence, cached_ids: list[int]) -> Awaited | None:
        """What a waiting sequence would find beside `cached_ids`, which `find` gave it, if it
        waited for what is promised; None for nothing."""
        if not self._promised or sequence.request.wants_prompt_logprobs:
            return None
        keys = islice(sequence.block_keys, self._num_blocks_before_last_token(sequence))
        num_awaited = sum(1 for _ in takewhile(self._is_coming, keys))
        num_awaited = self._without_part_of_image(sequence, num_awaited)
        num_tokens = (num_awaited - len(cached_ids)) * self._pool.block_size
        return Awaited(sequence.block_keys[num_awaited - 1], num_tokens) if num_tokens else None

    def _is_coming(self, key: bytes) -> bool:
        return key in self._promised or self._pool.has(key)

    def is_promised(self, key: bytes) -> bool:
        """Whether a running sequence is going to compute a block with this content."""
        return key in self._promised

    def has_room(self, sequence: Sequence, cached_ids: list[int], num_spare: int) -> bool:
        """Whether there are blocks for all of its tokens, and `num_spare` beside them."""
        num_blocks = self._pool.num_blocks_for(len(sequence.token_ids)) - len(cached_ids)
        return self._pool.can_allocate(num_blocks + num_spare, beside=cached_ids)

    def take(self, sequence: Sequence, cached_ids: list[int]) -> list[int]:
        """Blocks for all of its tokens: those that were found, then new ones; if `has_room`."""
        num_blocks = self._pool.num_blocks_for(len(sequence.token_ids)) - len(cached_ids)
        self._pool.share(cached_ids)
        self._promise(sequence, len(cached_ids))
        return cached_ids + self._pool.allocate(num_blocks)

    def _promise(self, sequence: Sequence, num_cached: int) -> None:
        if not self._is_on:
            return
        num_full = len(sequence.token_ids) // self._pool.block_size
        self._extend_keys(sequence, num_full)
        for key in sequence.block_keys[num_cached:num_full]:
            self._promised.setdefault(key, sequence)

    def _end_promises(self, sequence: Sequence, start: int, end: int) -> None:
        for key in sequence.block_keys[start:end]:
            if self._promised.get(key) is sequence:
                del self._promised[key]

    def leave(self, sequence: Sequence) -> None:
        """A running sequence gives back its blocks, and promises nothing any more."""
        self._end_promises(sequence, sequence.num_published, len(sequence.block_keys))
        self._pool.free(sequence.withdraw())

    def publish(self, sequence: Sequence) -> None:
        """Let the blocks be found that were filled since the last call."""
        num_full = sequence.num_computed // self._pool.block_size
        if num_full <= sequence.num_published or not self._is_on:
            return
        self._extend_keys(sequence, num_full)
        for index in range(sequence.num_published, num_full):
            self._pool.publish(sequence.block_ids[index], sequence.block_keys[index])
        self._end_promises(sequence, sequence.num_published, num_full)
        sequence.num_published = num_full

    def distrust(self, sequence: Sequence) -> None:
        """Let nothing be found that a failed sequence computed or was given."""
        self._pool.forget(sequence.block_ids)

    def _extend_keys(self, sequence: Sequence, num_blocks: int) -> None:
        block_size, keys = self._pool.block_size, sequence.block_keys
        if num_blocks <= len(keys):
            return
        places = sequence.request.prompt.places
        is_behind_images = not places or len(keys) * block_size >= places[-1].end
        images = [] if is_behind_images else placed_images(sequence.token_ids, places)
        extend_keys(keys, sequence.token_ids, images, num_blocks=num_blocks, block_size=block_size)
