"""One step: what a shard does with the rows that the router names."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from inlay_kernels import Kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.images.features import FeatureCache
from inlay_shard.machine.devices import is_lost
from inlay_shard.machine.parallel import Ranks
from inlay_shard.machine.stopwatch import Stopwatch
from inlay_shard.model.cache import KVPool
from inlay_shard.model.network import Network, Rated
from inlay_shard.model.view import View
from inlay_shard.sampling.sampler import Sampler
from inlay_shard.states.state_slots import StateSlots
from inlay_shard.steps.batch import FlatBatch, Row
from inlay_shard.steps.choosing import Chooser, Logits
from inlay_shard.steps.constraints import Constraints, Filling
from inlay_shard.steps.judgement import Judgement, from_table, to_table
from inlay_shard.steps.layout import Layouts
from inlay_shard.steps.outcome import Fate, Outcome
from inlay_shard.steps.prompt_logprobs import prompt_logprobs, wants_logprobs
from inlay_shard.steps.roster import Roster

_NO_ROWS = torch.empty(0)
_RESTORED_TOKENS = 512
"""Of a sequence that are computed anew at a time."""


class Engine:
    """Runs steps, one after the other, on one thread."""

    def __init__(
        self,
        network: Network,
        pool: KVPool,
        kernels: Kernels,
        features: FeatureCache,
        constraints: Constraints | None,
        ranks: Ranks,
        *,
        vocab_size: int,
        eos_token_ids: Sequence[int],
    ) -> None:
        """constraints: None on ranks other than 0. vocab_size: width of the logits."""
        self._network = network
        self._pool = pool
        self._constraints = constraints
        self._ranks = ranks
        self._layouts = Layouts(
            block_size=pool.block_size, num_axes=network.num_position_axes, device=network.device
        )
        self._sampler = Sampler(vocab_size, network.device, kernels)
        self._chooser = Chooser(
            self._sampler, eos_token_ids=eos_token_ids, block_size=pool.block_size
        )
        self._roster = Roster(
            features,
            constraints,
            ranks,
            num_blocks=pool.num_blocks,
            block_size=pool.block_size,
            num_embeddings=network.num_embeddings,
            image_token_id=network.image_token_id,
            images_reach_behind=network.images_reach_behind,
            needs_images=network.view is View.PROMPT,
            state_slots=None if pool.states is None else StateSlots(pool.states.num_slots),
        )

        self.encoder_watch = Stopwatch()
        """Of the thread that embeds images, beside the steps; set before the first one."""
        self.on_row_failure: Callable[[Exception], None] = _pass_over
        """Told with what the model failed for one row; set likewise."""

    def __repr__(self) -> str:
        return f"Engine({self._roster}, {self._pool})"

    def warm_up(self) -> None:
        """Compile what is compiled at its first use, before a client would wait for it."""
        if self._ranks.rank == 0:
            self._sampler.warm_up(self._network.dtype)

    def reset(self) -> None:
        """Forget every sequence. Blocks need no clearing: a row reads only what was written since,
        by itself or by the sequences whose blocks it was given."""
        self._roster.clear()
        self._layouts.forget()

    @torch.inference_mode()
    def run(self, step: pb.Step) -> pb.StepResult:
        """Sequences leave, join and grow; the model computes the rows, and grammars fill their
        masks meanwhile; rank 0 chooses a token for each row that reached the end of what is known
        of it, and judges what follows; every rank acts on that."""
        outcome = Outcome(step.step_id)
        outcome.spend("encode", self.encoder_watch.lap())
        with outcome.timed("schedule"):
            rows = self._roster.update(step, outcome)
        filling = self._begin_masks([row for row in rows if row.chooses])
        rows, logits = self._compute(rows, outcome)
        judgements = self._choose([row for row in rows if row.chooses], logits, filling, outcome)
        self._act(rows, judgements)
        return outcome.message() if self._ranks.rank == 0 else outcome.failures_only()

    def _fail(self, row: Row, failure: RowFailed, outcome: Outcome) -> None:
        outcome.fail(row.sequence.sequence_id, failure)
        self._roster.forget(row.sequence.sequence_id)

    def _compute(
        self, rows: list[Row], outcome: Outcome, *, is_again: bool = False
    ) -> tuple[list[Row], Logits]:
        """The rows that could be computed, and the logits of those of them that choose.

        When the model fails, halves of the batch are computed alone, and so the row that is at
        fault is found. With several ranks the failure ends the process, as the others hang in it;
        so does a device that computes nothing any more.
        """
        if not rows:
            self._layouts.forget()
            return [], Logits(_NO_ROWS, _NO_ROWS)
        try:
            if is_again and self._pool.states is not None:
                self._restore(rows)
            return rows, self._forward(rows, outcome)
        except Exception as error:
            if self._ranks.num_ranks > 1 or is_lost(self._network.device):
                raise
            if len(rows) == 1:
                self.on_row_failure(error)
                reason = f"the model failed: {type(error).__name__}: {error}"
                self._fail(rows[0], RowFailed(pb.RowFailure.KIND_INTERNAL, reason), outcome)
                return [], Logits(_NO_ROWS, _NO_ROWS)
        middle = len(rows) // 2
        first, logits = self._compute(rows[:middle], outcome, is_again=True)
        chosen, forced = logits.chosen.clone(), logits.forced.clone()  # good until the next call
        second, logits = self._compute(rows[middle:], outcome, is_again=True)
        return first + second, Logits(
            _joined([chosen, logits.chosen]), _joined([forced, logits.forced])
        )

    def _forward(self, rows: list[Row], outcome: Outcome) -> Logits:
        """Of the rows that choose; prompt log-probabilities go into the outcome."""
        with outcome.timed("transfer"):
            batch = self._layout(rows)
            choosing = [place for place, row in enumerate(rows) if row.chooses]
            before_forced = range(len(rows), len(batch.kept))
            keep = batch.kept
            if len(choosing) < len(rows):
                keep = keep[[*(choosing or [0]), *before_forced]]
        with outcome.timed("forward"):
            if any(wants_logprobs(row) for row in rows):
                logits, likeliest = self._rated_and_prompt(rows, batch, keep, outcome)
            else:
                logits, likeliest = self._rated(batch, keep, goes_on=self._goes_on(rows))
        if len(choosing) == len(keep):
            return Logits(logits, _NO_ROWS, likeliest)
        chosen = slice(len(choosing))
        forced = slice(len(keep) - len(before_forced), None)
        if likeliest is None:
            return Logits(logits[chosen], logits[forced])
        return Logits(
            logits[chosen], logits[forced], likeliest.part(chosen), likeliest.part(forced)
        )

    def _restore(self, rows: list[Row]) -> None:
        """Compute anew what is in front of these rows, whose states a failed pass left behind some
        of its layers only. Keys and values are written over by the same."""
        for row in rows:
            has_images = row.sequence.features is not None  # which may have to be seen as a whole
            num_tokens = row.start if has_images else _RESTORED_TOKENS
            for start in range(0, row.start, num_tokens or 1):
                end = min(start + num_tokens, row.start)
                batch = self._layout([Row(row.sequence, start, end)])
                self._rated(batch, batch.kept)
        self._layouts.forget()

    def _layout(self, rows: list[Row]) -> FlatBatch:
        """The batch on the device, where every layer finds it."""
        batch = self._layouts.of(rows)
        self._pool.current.batch = batch.attention
        if self._pool.states is not None:
            self._pool.states.lay_out([row.of_states for row in rows])
        return batch

    def _rated_and_prompt(
        self, rows: list[Row], batch: FlatBatch, keep: Tensor, outcome: Outcome
    ) -> Rated:
        with self._network.keeping_hidden() as hidden:
            rated = self._rated(batch, keep)
        for found in prompt_logprobs(self._network, rows, hidden[0]):
            outcome.add_prompt_logprobs(found)
        return rated

    def _goes_on(self, rows: list[Row]) -> bool:
        """Whether the next step is that of the same rows with their likeliest tokens, unless one
        of these ends its row, or the router has other plans."""
        return self._layouts.can_go_on() and all(
            row.sequence.takes_likeliest and row.sequence.num_left > 1 for row in rows
        )

    def _rated(self, batch: FlatBatch, keep: Tensor, *, goes_on: bool = False) -> Rated:
        embeddings = None
        if batch.image_features is not None:
            embeddings = self._network.embed(
                batch.token_ids, batch.image_places, batch.image_features
            )
        return self._network.rated(batch.token_ids, batch.position_ids, keep, embeddings, goes_on)

    def _begin_masks(self, rows: list[Row]) -> Filling | None:
        """Masks depend on known tokens alone, so they need not wait for the logits."""
        return self._constraints.begin(rows) if self._constraints is not None else None

    def _choose(
        self, rows: list[Row], logits: Logits, filling: Filling | None, outcome: Outcome
    ) -> list[Judgement]:
        """Rank 0's judgement of each row, which it reports; the other ranks are told."""
        max_forced = max((row.sequence.max_forced for row in rows), default=0)
        if self._ranks.rank > 0 and rows:
            empty = to_table([Judgement((), Fate.FAILS)] * len(rows), max_forced)
            return from_table(self._ranks.share(empty))
        with outcome.timed("mask"):
            masks, failures = filling.of(rows) if filling is not None else (None, {})
        if filling is not None:
            outcome.spend("fill", filling.nanoseconds)
        if not rows:
            return []
        judgements = self._chooser.choose(rows, logits, masks, failures, outcome)
        if self._ranks.num_ranks > 1:
            self._ranks.share(to_table(judgements, max_forced))
        return judgements

    def _act(self, rows: list[Row], judgements: list[Judgement]) -> None:
        """Every rank: note what is computed, append what was chosen, forget what ended."""
        judgement = iter(judgements)
        for row in rows:
            sequence = row.sequence
            is_choosing = row.chooses
            sequence.num_computed = row.end
            if not is_choosing:
                continue
            verdict = next(judgement)
            for token_id in (*verdict.token_ids, *verdict.forced_ids):
                sequence.append(token_id)
            sequence.num_forced = len(verdict.forced_ids)
            if verdict.fate is not Fate.GOES_ON:
                self._roster.forget(sequence.sequence_id)


def _pass_over(error: Exception) -> None:
    """Where nobody wants to know."""


def _joined(parts: Iterable[Tensor]) -> Tensor:
    """Logits (n, vocab_size) one after the other; parts of no rows may have no width."""
    found = [part for part in parts if len(part)]
    return torch.cat(found) if found else _NO_ROWS
