"""One stream of steps: packs drafts into messages, and remembers what is in flight."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain, repeat

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.sequence import Sequence


@dataclass(kw_only=True, slots=True)
class Draft:
    """A step in the making. Its rows are those of `decoding`, then those of `chunks`."""

    joining: list[pb.Sequence] = field(default_factory=list)
    growths: list[pb.BlockGrowth] = field(default_factory=list)
    decoding: list[Sequence] = field(default_factory=list)
    """Who computes its one unscheduled token."""
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    """Who computes how many tokens of its prompt, or of what it had when it joined."""
    num_prefill_tokens_left: int = 0
    """What is left of the step's budget for `chunks`; the batcher sets it."""


@dataclass(kw_only=True, slots=True)
class Flight:
    """A step that was sent, and what its result will change."""

    step_id: int
    decoding: list[Sequence]
    chunks: list[tuple[Sequence, int, bool]]
    """(sequence, tokens to compute, whether it chooses a token)."""
    row_ids: list[int]
    """Names of the sequences at that time, in the order of the rows."""

    @property
    def num_prefill_tokens(self) -> int:
        """Tokens of all chunks."""
        return sum(num_tokens for _, num_tokens, _ in self.chunks)

    def sequences(self) -> list[Sequence]:
        """Whose rows these are, in their order."""
        return self.decoding + [sequence for sequence, _, _ in self.chunks]


class StepStream:
    """Steps and results between one opening of a link and its end."""

    def __init__(self) -> None:
        self._in_flight: deque[Flight] = deque()  # the oldest first
        self._leaving_ids: list[int] = []
        self._row_ids: list[int] = []  # of the last step
        self._step_id = 0

    @property
    def num_in_flight(self) -> int:
        """Steps whose result is not back."""
        return len(self._in_flight)

    def present(self) -> list[Sequence]:
        """Sequences that have a row in a step in flight, also those that left since."""
        rows = [sequence for flight in self._in_flight for sequence in flight.sequences()]
        return list(dict.fromkeys(rows))

    def leave(self, sequence_id: int) -> None:
        """The next step tells the shards to forget the sequence."""
        self._leaving_ids.append(sequence_id)

    def issue(self, draft: Draft) -> pb.Step:
        """The draft, which has rows, as a step in flight."""
        self._step_id += 1
        step = pb.Step(
            step_id=self._step_id,
            leaving_ids=self._leaving_ids,
            joining=draft.joining,
            growths=draft.growths,
        )
        self._leaving_ids = []
        self._name_rows(step, draft)
        for sequence in draft.decoding:
            sequence.schedule_next()
        chunks = [(sequence, count, sequence.schedule(count)) for sequence, count in draft.chunks]
        flight = Flight(
            step_id=self._step_id,
            decoding=draft.decoding,
            chunks=chunks,
            row_ids=self._row_ids,
        )
        self._in_flight.append(flight)
        return step

    def _name_rows(self, step: pb.Step, draft: Draft) -> None:
        """Fill `rows`, unless the shard can repeat those of the step before."""
        row_ids = [sequence.sequence_id for sequence in draft.decoding]
        if not draft.chunks and row_ids == self._row_ids:
            return
        row_ids += [sequence.sequence_id for sequence, _ in draft.chunks]
        self._row_ids = row_ids
        step.rows.sequence_ids.extend(row_ids)
        step.rows.num_tokens.extend([1] * len(draft.decoding))
        step.rows.num_tokens.extend([num_tokens for _, num_tokens in draft.chunks])

    def confirm(self, result: pb.StepResult, failed_ids: Collection[int]) -> Flight:
        """The oldest step in flight, which is done: its rows are computed, but for failed ones.

        Sequences that left meanwhile are not touched.
        """
        flight = self._in_flight.popleft()
        assert result.step_id == flight.step_id, f"result {result.step_id} for {self!r}"
        counts = chain(repeat((1, True), len(flight.decoding)), (row[1:] for row in flight.chunks))
        rows = zip(flight.sequences(), flight.row_ids, counts, strict=True)
        for sequence, sequence_id, (num_tokens, is_choosing) in rows:
            if sequence.sequence_id == sequence_id and sequence_id not in failed_ids:
                sequence.confirm(num_tokens, is_choosing=is_choosing)
        return flight

    def __repr__(self) -> str:
        in_flight = [flight.step_id for flight in self._in_flight]
        return f"StepStream(last {self._step_id}, in flight {in_flight})"
