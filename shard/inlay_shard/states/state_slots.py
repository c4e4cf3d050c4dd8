"""Which slot of the states belongs to which sequence."""

from heapq import heapify, heappop, heappush

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed


class StateSlots:
    """Slots in [0, num_slots). The lowest free one is taken first, so that those of sequences that
    joined one after the other lie side by side."""

    def __init__(self, num_slots: int) -> None:
        self._num_slots = num_slots
        self._owned: dict[int, int] = {}
        self._free = list(range(num_slots))

    def __repr__(self) -> str:
        return f"StateSlots({len(self._free)} of {self._num_slots} free)"

    def take(self, message: pb.Sequence) -> int:
        """A slot for a sequence that joins; what was in it is of no use.

        Raises RowFailed when there is none, or when its states would have to be there already.
        """
        if message.num_cached_tokens:
            raise RowFailed(
                pb.RowFailure.KIND_INTERNAL,
                f"{message.num_cached_tokens} tokens are cached, but this model goes on only from "
                "what it computed of the same sequence",
            )
        if not self._free:
            raise RowFailed(
                pb.RowFailure.KIND_INTERNAL,
                f"this model can run {self._num_slots} sequences at a time, and so many run",
            )
        slot = self._owned[message.sequence_id] = heappop(self._free)
        return slot

    def give_back(self, sequence_id: int) -> None:
        """The slot of a sequence, if it has one."""
        if (slot := self._owned.pop(sequence_id, None)) is not None:
            heappush(self._free, slot)

    def clear(self) -> None:
        """Give all of them back."""
        self._free += self._owned.values()
        self._owned.clear()
        heapify(self._free)
