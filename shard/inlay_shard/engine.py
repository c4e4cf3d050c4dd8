"""One step: what a shard does with the rows that the router names."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inlay_kernels import Kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard.batch import FlatBatch, Row, flatten
from inlay_shard.cache import KVPool
from inlay_shard.constraints import Constraints, Filling
from inlay_shard.errors import RowFailed
from inlay_shard.features import FeatureCache
from inlay_shard.judgement import Judgement, from_table, judge, to_table
from inlay_shard.network import Network
from inlay_shard.outcome import IMPOSSIBLE, Fate, Outcome
from inlay_shard.parallel import Ranks
from inlay_shard.prompt_logprobs import prompt_logprobs, wants_logprobs
from inlay_shard.roster import Roster
from inlay_shard.sampler import Choice, Sampler, logprob_of
from inlay_shard.view import View


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
        self._sampler = Sampler(vocab_size, network.device, kernels)
        self._eos_token_ids = tuple(eos_token_ids)
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
        )

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

    @torch.inference_mode()
    def run(self, step: pb.Step) -> pb.StepResult:
        """Sequences leave, join and grow; the model computes the rows, and grammars fill their
        masks meanwhile; rank 0 chooses a token for each row that reached the end of what is known
        of it, and judges what follows; every rank acts on that."""
        outcome = Outcome(step.step_id)
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

    def _compute(self, rows: list[Row], outcome: Outcome) -> tuple[list[Row], Tensor]:
        """The rows that could be computed, and the logits of those of them that choose.

        When the model fails, halves of the batch are computed alone, and so the row that is at
        fault is found. With several ranks the failure ends the process, as the others hang in it.
        """
        if not rows:
            return [], torch.empty(0)
        try:
            return rows, self._forward(rows, outcome)
        except Exception as error:
            if self._ranks.num_ranks > 1:
                raise
            if len(rows) == 1:
                reason = f"the model failed: {type(error).__name__}: {error}"
                self._fail(rows[0], RowFailed(pb.RowFailure.KIND_INTERNAL, reason), outcome)
                return [], torch.empty(0)
        middle = len(rows) // 2
        halves = [self._compute(half, outcome) for half in (rows[:middle], rows[middle:])]
        computed = [row for half, _ in halves for row in half]
        found = [logits for _, logits in halves if len(logits)]
        return computed, torch.cat(found) if found else torch.empty(0)

    def _forward(self, rows: list[Row], outcome: Outcome) -> Tensor:
        """Logits (choosing rows, vocab_size); prompt log-probabilities go into the outcome."""
        with outcome.timed("transfer"):
            batch = self._layout(rows)
            choosing = [place for place, row in enumerate(rows) if row.chooses]
            keep = batch.ends if len(choosing) == len(rows) else batch.ends[choosing or [0]]
        with outcome.timed("forward"):
            if any(wants_logprobs(row) for row in rows):
                logits = self._logits_and_prompt(rows, batch, keep, outcome)
            else:
                logits = self._logits(batch, keep)
        return logits[: len(choosing)]

    def _layout(self, rows: list[Row]) -> FlatBatch:
        """The batch on the device, where every layer finds it."""
        batch = flatten(
            rows,
            block_size=self._pool.block_size,
            num_axes=self._network.num_position_axes,
            device=self._network.device,
        )
        self._pool.current.batch = batch.attention
        return batch

    def _logits_and_prompt(
        self, rows: list[Row], batch: FlatBatch, keep: Tensor, outcome: Outcome
    ) -> Tensor:
        with self._network.keeping_hidden() as hidden:
            logits = self._logits(batch, keep)
        for found in prompt_logprobs(self._network, rows, hidden[0]):
            outcome.add_prompt_logprobs(*found)
        return logits

    def _logits(self, batch: FlatBatch, keep: Tensor) -> Tensor:
        embeddings = None
        if batch.image_features is not None:
            embeddings = self._network.embed(
                batch.token_ids, batch.image_places, batch.image_features
            )
        return self._network.logits(batch.token_ids, batch.position_ids, keep, embeddings)

    def _begin_masks(self, rows: list[Row]) -> Filling | None:
        """Masks depend on known tokens alone, so they need not wait for the logits."""
        return self._constraints.begin(rows) if self._constraints is not None else None

    def _choose(
        self, rows: list[Row], logits: Tensor, filling: Filling | None, outcome: Outcome
    ) -> list[Judgement]:
        """Rank 0's judgement of each row, which it reports; the other ranks are told."""
        if self._ranks.rank > 0 and rows:
            return from_table(self._ranks.share(to_table([Judgement((), Fate.FAILS)] * len(rows))))
        with outcome.timed("mask"):
            masks, failures = filling.of(rows) if filling is not None else (None, {})
        if not rows:
            return []
        for place, row in enumerate(rows):
            if row.sequence.wants_logits:
                outcome.add_logits(row.sequence.sequence_id, logits[place])
        with outcome.timed("sample"):
            choice = self._sampler.choose(logits, [row.sequence.sampling for row in rows], masks)
            chosen = zip(choice.token_ids.tolist(), choice.logprobs.tolist(), strict=True)
        with outcome.timed("deliver"):
            judgements = [
                self._judge(row, token_id, logprob, logits[place], failures.get(place), outcome)
                for place, (row, (token_id, logprob)) in enumerate(zip(rows, chosen, strict=True))
            ]
            self._report_top_tokens(rows, judgements, choice, outcome)
        if self._ranks.num_ranks > 1:
            self._ranks.share(to_table(judgements))
        return judgements

    def _judge(
        self,
        row: Row,
        token_id: int,
        logprob: float,
        logits: Tensor,
        reason: str | None,
        outcome: Outcome,
    ) -> Judgement:
        """logits: of the row, (vocab_size,). reason: why it cannot be masked; None if it can."""
        sequence = row.sequence
        try:
            if reason is not None:
                raise RowFailed(pb.RowFailure.KIND_INVALID, reason)
            judgement = judge(sequence, token_id, logprob, self._eos_token_ids)
        except RowFailed as failure:
            outcome.fail(sequence.sequence_id, failure)
            return Judgement((), Fate.FAILS)
        if judgement.is_changed:
            outcome.shorten(sequence.sequence_id)
            logprob = logprob_of(logits, judgement.token_ids[0])
        logprobs = (logprob, 0.0)[: len(judgement.token_ids)]
        outcome.produce(sequence.sequence_id, judgement.token_ids, logprobs)
        if judgement.fate is not Fate.GOES_ON:
            outcome.end(sequence.sequence_id, judgement.fate)
        return judgement

    def _report_top_tokens(
        self, rows: list[Row], judgements: list[Judgement], choice: Choice, outcome: Outcome
    ) -> None:
        for place, (row, judgement) in enumerate(zip(rows, judgements, strict=True)):
            num_top = row.sequence.sampling.top_n_tokens
            if num_top == 0 or not judgement.token_ids:
                continue
            token_ids = choice.top_token_ids[place, :num_top].tolist()
            logprobs = choice.top_logprobs[place, :num_top].tolist()
            for end_id in judgement.token_ids[1:]:
                others = [token_id for token_id in token_ids[:num_top] if token_id != end_id]
                token_ids += [end_id, *others[: num_top - 1]]
                logprobs += [0.0] + [IMPOSSIBLE] * (num_top - 1)
            outcome.add_top_tokens(row.sequence.sequence_id, token_ids, logprobs)

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
            for token_id in verdict.token_ids:
                sequence.append(token_id)
            if verdict.fate is not Fate.GOES_ON:
                self._roster.forget(sequence.sequence_id)
