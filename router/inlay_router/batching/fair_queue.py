"""The queue: clients take turns, and wait longer for their next the more they were given."""

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import islice, takewhile

from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.sequence import Sequence

TOKENS_OF_A_TURN = 512
"""Of a prompt and its answer at its longest; what has more takes several turns."""

MAX_ALIKE = 8
"""How far is looked for equal prompts."""


class FairQueue:
    """Sequences in the order in which they are to run; no clock, no I/O.

    A client's own sequences keep their order. Clients are served in rounds, as in deficit round
    robin (Shreedhar and Varghese, 1995), counted here instead of walked through: a sequence takes
    at least one turn, and who was given one of several turns' worth of tokens sits out as many
    rounds. Who comes anew is in the next round, so that newcomers, however many, keep nobody
    waiting for ever. In front of all stand those that ran already and gave way.
    """

    def __init__(self) -> None:
        self._returned: deque[Sequence] = deque()
        self._lines: dict[str, deque[Sequence]] = {}  # by client; also empty ones with a turn
        self._turns: list[tuple[int, int, str]] = []  # a heap of (round, place, client)
        self._round = 0
        self._num_places = 0
        self._num_sequences = 0
        self.num_tokens = 0
        """Of all prompts here, and of answers so far."""

    def __len__(self) -> int:
        return self._num_sequences

    def __iter__(self) -> Iterator[Sequence]:
        """Those that ran already, then the others by client."""
        yield from self._returned
        for line in self._lines.values():
            yield from line

    def has_room(self, sequence: Sequence, limits: BatchLimits) -> bool:
        """Whether one more may wait. Where nobody does, any prompt may."""
        num_tokens = self.num_tokens + len(sequence.token_ids)
        has_tokens = limits.max_waiting_tokens is None or num_tokens <= limits.max_waiting_tokens
        return self._num_sequences < limits.max_waiting and (has_tokens or not self._num_sequences)

    def add(self, sequence: Sequence) -> None:
        """Behind the others of its client."""
        line = self._lines.get(sequence.client_id)
        if line is None:
            line = self._lines[sequence.client_id] = deque()
            self._give_turn(self._round + 1, sequence.client_id)
        line.append(sequence)
        self._count(sequence, 1)

    def put_back(self, sequence: Sequence) -> None:
        """In front of all: it had its turn."""
        self._returned.appendleft(sequence)
        self._count(sequence, 1)

    def head(self) -> Sequence | None:
        """Who is next."""
        if self._returned:
            return self._returned[0]
        if not self._num_sequences:
            return None
        while not (line := self._lines[self._turns[0][2]]):
            _, _, client_id = heapq.heappop(self._turns)
            del self._lines[client_id]
        return line[0]

    def num_alike(self, sequence: Sequence) -> int:
        """How many prompts equal that of `sequence`, of those that its client has next."""
        line = islice(self._lines.get(sequence.client_id, ()), MAX_ALIKE)
        prompt = sequence.request.prompt
        return sum(1 for _ in takewhile(lambda other: other.request.prompt == prompt, line))

    def pop(self) -> Sequence:
        """Take the head out, which counts as its client's turn."""
        sequence = self.head()
        assert sequence is not None
        if self._returned:
            self._returned.popleft()
        else:
            self._round, _, client_id = heapq.heappop(self._turns)
            self._lines[client_id].popleft()
            self._give_turn(self._round + num_turns(sequence), client_id)
        self._count(sequence, -1)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out wherever it stands; its client's turn remains."""
        if sequence in self._returned:
            self._returned.remove(sequence)
        else:
            self._lines[sequence.client_id].remove(sequence)
        self._count(sequence, -1)

    def clear(self) -> None:
        """Take all out, and forget who was given what."""
        self._returned.clear()
        self._lines.clear()
        self._turns.clear()
        self._num_sequences = self.num_tokens = 0

    def _give_turn(self, number: int, client_id: str) -> None:
        self._num_places += 1  # within a round, who was placed first comes first
        heapq.heappush(self._turns, (number, self._num_places, client_id))

    def _count(self, sequence: Sequence, change: int) -> None:
        """Nobody was kept waiting by whoever was served when the queue is empty: that is forgotten,
        so nothing grows with the number of clients that ever were."""
        self._num_sequences += change
        self.num_tokens += change * len(sequence.token_ids)
        if not self._num_sequences:
            self._lines.clear()
            self._turns.clear()

    def __repr__(self) -> str:
        return f"FairQueue({list(self)})"


def num_turns(sequence: Sequence) -> int:
    """What a sequence costs its client."""
    return -(-sequence.num_tokens_max // TOKENS_OF_A_TURN)
