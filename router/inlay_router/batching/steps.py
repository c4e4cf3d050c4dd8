"""One stream of steps: packs drafts into messages, and remembers what is in flight."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

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
    preempted: list[Sequence] = field(default_factory=list)
    """Who gave its blocks to another, and is to wait again; the first gave way first."""
    num_prefill_tokens_left: int = 0
    """What is left of the step's budget for `chunks`; the batcher sets it."""


@dataclass(kw_only=True, slots=True)
class Flight:
    """A step that was sent, and what its result will change."""

    step_id: int
    decoding: list[Sequence]
    chunks: list[tuple[Sequence, int]]
    """(sequence, tokens to compute)."""
    row_ids: list[int]
    """Names of the sequences at that time, in the order of the rows."""

    @property
    def num_prefill_tokens(self) -> int:
        """Tokens of all chunks."""
        return sum(num_tokens for _, num_tokens in self.chunks)

    def sequences(self) -> list[Sequence]:
        """Whose rows these are, in their order."""
        return self.decoding + [sequence for sequence, _ in self.chunks]

    def confirm(self, failures: Iterable[pb.RowFailure], block_size: int) -> list[Sequence]:
        """Its rows are computed, but for failed ones; sequences that left are not touched.

        Returns those that may have filled a block.
        """
        failed_ids = {failure.sequence_id for failure in failures}
        filling = []
        for sequence, sequence_id in zip(self.decoding, self.row_ids, strict=False):
            if sequence.sequence_id != sequence_id or sequence_id in failed_ids:
                continue
            sequence.num_computed += 1
            if not sequence.num_computed % block_size:
                filling.append(sequence)
            if sequence.num_deaths:  # otherwise it is enough to do so when it is withdrawn
                sequence.note_reach()
        chunk_ids = self.row_ids[len(self.decoding) :]
        for (sequence, num_tokens), sequence_id in zip(self.chunks, chunk_ids, strict=True):
            if sequence.sequence_id == sequence_id and sequence_id not in failed_ids:
                sequence.confirm(num_tokens)
                filling.append(sequence)
        return filling


class StepStream:
    """Steps and results between one opening of a link and its end."""

    def __init__(self) -> None:
        self._in_flight: deque[Flight] = deque()  # the oldest first
        self._leaving_ids: list[int] = []
        self._rows: list[Sequence] = []  # of the last step
        self._row_ids: list[int] = []  # their names
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
            sequence.num_scheduled += 1
        for sequence, num_tokens in draft.chunks:
            sequence.schedule(num_tokens)
        self._in_flight.append(
            Flight(
                step_id=self._step_id,
                decoding=draft.decoding,
                chunks=draft.chunks,
                row_ids=self._row_ids,
            )
        )
        return step

    def _name_rows(self, step: pb.Step, draft: Draft) -> None:
        """Fill `rows`, unless the shard can repeat those of the step before.

        Who joined again since, under another name, comes with a chunk.
        """
        if not draft.chunks and draft.decoding == self._rows:
            return
        self._rows = draft.decoding + [sequence for sequence, _ in draft.chunks]
        self._row_ids = [sequence.sequence_id for sequence in self._rows]
        step.rows.sequence_ids.extend(self._row_ids)
        step.rows.num_tokens.extend([1] * len(draft.decoding))
        step.rows.num_tokens.extend([num_tokens for _, num_tokens in draft.chunks])

    def land(self, step_id: int) -> Flight:
        """The oldest step in flight, which must be this one, is done."""
        flight = self._in_flight.popleft()
        assert step_id == flight.step_id, f"result {step_id} for {self!r}"
        return flight

    def __repr__(self) -> str:
        in_flight = [flight.step_id for flight in self._in_flight]
        return f"StepStream(last {self._step_id}, in flight {in_flight})"
