"""Sequences that wait for the beginning of their prompt, which another sequence is computing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from inlay_router.batching.pace import Pace, Unpaced, default_prefill_tokens
from inlay_router.batching.sequence import Sequence, State

NUM_STEPS_OF_A_WAIT = 3
"""What following may cost, in steps of decode rows alone: one that is on its way when the awaited
result comes back, one of its own where its leader's had room, and one that shows the pace what
decode rows take."""


@dataclass(frozen=True, slots=True)
class _Wait:
    awaited_key: bytes
    num_blocks: int


class Followers:
    """Who had a turn in the queue, and is held back until it finds blocks that its leader computes.

    A follower has its name on the shards already, and so keeps its place among those who prefill.
    It owns no block. Whoever comes later leaves it the room that it was let in for. A leader runs,
    and followers do not, so nobody waits for a follower, or for itself.
    """

    def __init__(self) -> None:
        self._waits: dict[Sequence, _Wait] = {}  # in the order of their turns, but for those again
        self.num_blocks = 0
        """What they would take of the pool, together."""

    def __len__(self) -> int:
        return len(self._waits)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._waits)

    def among(self, prefilling: Iterable[Sequence]) -> list[Sequence]:
        """Followers and those who prefill, in the order of their turns."""
        return sorted([*prefilling, *self._waits], key=attrgetter("sequence_id"))

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._waits

    def add(
        self, sequence: Sequence, sequence_id: int, *, awaited_key: bytes, num_blocks: int
    ) -> None:
        """Hold a sequence back until `awaited_key` can be found, or nobody computes it any more.

        num_blocks: what it would take of the pool now.
        """
        sequence.state = State.WAITING
        sequence.sequence_id = sequence_id
        self._waits[sequence] = _Wait(awaited_key, num_blocks)
        self.num_blocks += num_blocks

    def num_awaiting(self, key: bytes) -> int:
        """How many wait for this block."""
        return sum(wait.awaited_key == key for wait in self._waits.values())

    def awaited_key(self, sequence: Sequence) -> bytes:
        """The last block that a follower waits for, by content."""
        return self._waits[sequence].awaited_key

    def remove(self, sequence: Sequence) -> None:
        """Hold a sequence back no longer; it keeps its name."""
        self.num_blocks -= self._waits.pop(sequence).num_blocks

    def clear(self) -> None:
        """Hold nobody back."""
        self._waits.clear()
        self.num_blocks = 0


def num_tokens_worth_waiting(pace: Pace | Unpaced, num_decoding: int, device: str) -> int:
    """Prompt tokens from which on finding them soon beats computing them beside their leader.

    Below, the steps that a follower sits out would take longer than the tokens. Of several that
    wait for the same, each is spared the tokens of all. While it is not known what both take on
    the device: for how many it was so on others of its kind.
    """
    guess = default_prefill_tokens(device) // 8
    return max(guess, NUM_STEPS_OF_A_WAIT * pace.num_tokens_of_a_step(num_decoding))
