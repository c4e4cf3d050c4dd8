"""What sequences computed, kept findable by content for the next prompt with the same beginning."""

from itertools import islice

from inlay_router.batching.block_keys import extend_keys, placed_images
from inlay_router.batching.chunks import place_around
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence


class PrefixCache:
    """Finds the blocks of a pool that hold the first tokens of a sequence.

    A block can be found once the result of the step that filled it is back, and until the pool
    gives it to another owner. A new pool knows nothing.
    """

    def __init__(self, replica: Replica, *, is_on: bool) -> None:
        self._pool = replica.pool
        self._has_whole_images = replica.has_whole_images
        self._is_on = is_on

    def find(self, sequence: Sequence) -> list[int]:
        """Blocks that hold the first tokens of a waiting sequence, in order.

        They never hold all of its tokens, because the last one's logits are needed; and none when
        log-probabilities of the prompt are wanted, which only computing it gives.
        """
        if not self._is_on or sequence.request.wants_prompt_logprobs:
            return []
        num_blocks = (len(sequence.token_ids) - 1) // self._pool.block_size
        self._extend_keys(sequence, num_blocks)
        block_ids = self._pool.find(islice(sequence.block_keys, num_blocks))
        return self._without_part_of_image(sequence, block_ids)

    def _without_part_of_image(self, sequence: Sequence, block_ids: list[int]) -> list[int]:
        if not self._has_whole_images:
            return block_ids
        block_size, places = self._pool.block_size, sequence.request.prompt.places
        while (place := place_around(places, len(block_ids) * block_size)) is not None:
            block_ids = block_ids[: place.start // block_size]
        return block_ids

    def has_room(self, sequence: Sequence, cached_ids: list[int], num_spare: int) -> bool:
        """Whether there are blocks for all of its tokens, and `num_spare` beside them."""
        num_blocks = self._pool.num_blocks_for(len(sequence.token_ids)) - len(cached_ids)
        return self._pool.can_allocate(num_blocks + num_spare, beside=cached_ids)

    def take(self, sequence: Sequence, cached_ids: list[int]) -> list[int]:
        """Blocks for all of its tokens: those that were found, then new ones; if `has_room`."""
        num_blocks = self._pool.num_blocks_for(len(sequence.token_ids)) - len(cached_ids)
        self._pool.share(cached_ids)
        return cached_ids + self._pool.allocate(num_blocks)

    def publish(self, sequence: Sequence) -> None:
        """Let the blocks be found that were filled since the last call."""
        num_full = sequence.num_computed // self._pool.block_size
        if num_full <= sequence.num_published or not self._is_on:
            return
        self._extend_keys(sequence, num_full)
        for index in range(sequence.num_published, num_full):
            self._pool.publish(sequence.block_ids[index], sequence.block_keys[index])
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
