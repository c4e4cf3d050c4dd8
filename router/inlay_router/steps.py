"""One stream of steps: packs drafts into messages, and remembers what is in flight."""

from collections import deque
from dataclasses import dataclass, field

from inlay_proto import generate_pb2 as pb
from inlay_router.sequence import Sequence


@dataclass(kw_only=True, slots=True)
class Draft:
    """A step in the making."""

    num_prefill_tokens_left: int
    """What is left of the step's budget."""
    joining: list[pb.Sequence] = field(default_factory=list)
    growths: list[pb.BlockGrowth] = field(default_factory=list)
    rows: list[tuple[Sequence, int]] = field(default_factory=list)
    """Who computes how many tokens."""


@dataclass(kw_only=True, slots=True)
class _Flight:
    """A step that was sent, and what its result will change."""

    step_id: int
    rows: list[tuple[Sequence, int, int, bool]] = field(default_factory=list)
    """(sequence, its id at that time, tokens to compute, whether it chooses a token)."""


class StepStream:
    """Steps and results between one opening of a link and its end."""

    def __init__(self) -> None:
        self._in_flight: deque[_Flight] = deque()  # the oldest first
        self._leaving_ids: list[int] = []
        self._row_ids: list[int] = []  # of the last step
        self._step_id = 0

    @property
    def num_in_flight(self) -> int:
        """Steps whose result is not back."""
        return len(self._in_flight)

    def present(self) -> list[Sequence]:
        """Sequences that have a row in a step in flight, also those that left since."""
        rows = [row for flight in self._in_flight for row in flight.rows]
        return list(dict.fromkeys(sequence for sequence, _, _, _ in rows))

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
        flight = _Flight(step_id=self._step_id)
        for sequence, num_tokens in draft.rows:
            is_choosing = sequence.schedule(num_tokens)
            flight.rows.append((sequence, sequence.sequence_id, num_tokens, is_choosing))
        self._in_flight.append(flight)
        return step

    def _name_rows(self, step: pb.Step, draft: Draft) -> None:
        """Fill `rows`, unless the shard can repeat those of the step before."""
        row_ids = [sequence.sequence_id for sequence, _ in draft.rows]
        num_tokens = [num_tokens for _, num_tokens in draft.rows]
        if row_ids == self._row_ids and max(num_tokens) == 1:
            return
        self._row_ids = row_ids
        step.rows.sequence_ids.extend(row_ids)
        step.rows.num_tokens.extend(num_tokens)

    def confirm(self, result: pb.StepResult) -> None:
        """The oldest step in flight is done. Sequences that left meanwhile are not touched."""
        flight = self._in_flight.popleft()
        assert result.step_id == flight.step_id, f"result {result.step_id} for {self!r}"
        for sequence, sequence_id, num_tokens, is_choosing in flight.rows:
            if sequence.sequence_id == sequence_id:
                sequence.confirm(num_tokens, is_choosing=is_choosing)

    def __repr__(self) -> str:
        in_flight = [flight.step_id for flight in self._in_flight]
        return f"StepStream(last {self._step_id}, in flight {in_flight})"
