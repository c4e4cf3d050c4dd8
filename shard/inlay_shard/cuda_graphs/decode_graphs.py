"""Decode steps from CUDA graphs, one for each size of batch, recorded when it first comes."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inlay_kernels import AttentionBatch
from inlay_shard.cuda_graphs.graph_plan import GraphPlan
from inlay_shard.cuda_graphs.recording import (
    CannotRecord,
    Computation,
    Recorder,
    Recording,
    first_line,
)
from inlay_shard.cuda_graphs.static_inputs import StaticInputs, over
from inlay_shard.machine.parallel import Ranks
from inlay_shard.model.architecture import max_positions
from inlay_shard.model.cache import KVPool
from inlay_shard.model.loading import Report
from inlay_shard.model.network import LogitsOf, Network

_SAME = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Largest difference between a replay and the same step computed by the same kernels, in units of
the logits of a row; both by the root of their mean square. Sums may have another order."""
_ALIKE = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""The same where kernels may differ, because one batch has idle rows and the other has not."""


class DecodeGraphs:
    """Called instead of a network's own code: decode steps are replayed, others computed as ever.

    A size is recorded while all of its rows are idle, and its first replay is held against the
    same step computed as ever, so a number that was frozen while recording is found. The answer of
    that step is the computed one, and so are the keys and values that it leaves in the pool.
    """

    def __init__(
        self,
        network: Network,
        pool: KVPool,
        recorder: Recorder,
        sizes: Sequence[int],
        ranks: Ranks,
        report: Report,
    ) -> None:
        """sizes: rows of the graphs, ascending; a batch takes the smallest that holds it."""
        self._compute: LogitsOf = network.shortcut or network.plain_logits
        self._pool = pool
        self._recorder = recorder
        self._sizes = sizes
        self._ranks = ranks
        self._report = report
        self._dtype = network.dtype
        self._num_axes = network.num_position_axes
        self._table_width = _table_width(network, pool)
        self._steps: dict[int, RecordedStep] = {}
        self._can_record = True

    def __repr__(self) -> str:
        return f"DecodeGraphs({sorted(self._steps)} of {list(self._sizes)})"

    def __call__(
        self, token_ids: Tensor, position_ids: Tensor, keep: Tensor, embeddings: Tensor | None
    ) -> Tensor:
        """Logits (len(keep), vocab_size), as `Network.logits` has them."""
        batch = self._pool.current.batch
        size = self._size_for(batch) if _is_decode(token_ids, keep, embeddings, batch) else None
        step = None if size is None else self._steps.get(size)
        if step is not None:
            return step.logits(token_ids, position_ids, batch)
        if size is None or not self._can_record:
            return self._compute(token_ids, position_ids, keep, embeddings)
        return self._first(size, token_ids, position_ids, keep)

    def _size_for(self, batch: AttentionBatch) -> int | None:
        """The smallest size that holds a batch; None when there is none."""
        if batch.block_tables.shape[1] > self._table_width:
            return None
        place = bisect_left(self._sizes, batch.num_rows)
        return self._sizes[place] if place < len(self._sizes) else None

    def _first(self, size: int, token_ids: Tensor, position_ids: Tensor, keep: Tensor) -> Tensor:
        """Record a size, and let the first step of it be the proof.

        Whatever is raised on the way, no size is recorded any more.
        """
        self._can_record = False
        batch = self._pool.current.batch
        trial = self._try(size, token_ids, position_ids, batch)
        self._pool.current.batch = batch
        logits = self._compute(token_ids, position_ids, keep, None)
        if (
            self._agree(trial.step is not None and trial.proves(logits, self._dtype))
            and trial.step is not None
        ):
            self._steps[size] = trial.step
            self._can_record = True
            self._report(f"decode steps of up to {size} rows come from a CUDA graph")
        else:
            reason = trial.reason or "it replays something else"
            self._report(f"no CUDA graph for {size} rows, nor for any that is not there: {reason}")
        return logits

    def _try(
        self, size: int, token_ids: Tensor, position_ids: Tensor, batch: AttentionBatch
    ) -> "_Trial":
        """Record a size and replay a step. With several ranks what is raised in the middle ends
        the process, as the others hang in it."""
        try:
            step, reason = self._record(size)
            if not self._agree(step is not None) or step is None:
                return _Trial(reason=reason or "another rank cannot record it")
            replayed = step.logits(token_ids, position_ids, batch)
            return _Trial(step=step, replayed=replayed, again=step.computed_logits())
        except Exception as error:
            if self._ranks.num_ranks > 1:
                raise
            return _Trial(reason=first_line(error))

    def _record(self, size: int) -> tuple["RecordedStep | None", str]:
        """A step of idle rows, recorded; or None, and why not."""
        inputs = StaticInputs(
            size, self._pool, num_axes=self._num_axes, table_width=self._table_width
        )
        compute = over(inputs, self._compute, self._pool)
        try:
            return RecordedStep(inputs, compute, self._recorder.record(compute)), ""
        except CannotRecord as failure:
            return None, str(failure)

    def _agree(self, is_fine: bool) -> bool:
        """Whether it is fine on every rank; each asks at the same places."""
        return bool(self._ranks.least(torch.tensor([is_fine], dtype=torch.int32)).item())


class RecordedStep:
    """A decode step of one size: what it reads, and the recording of it."""

    def __init__(self, inputs: StaticInputs, compute: Computation, recording: Recording) -> None:
        self._inputs = inputs
        self._compute = compute
        self._recording = recording

    def logits(self, token_ids: Tensor, position_ids: Tensor, batch: AttentionBatch) -> Tensor:
        """Logits (rows, vocab_size) of a step; a copy, since the next replay writes over them."""
        self._inputs.load(token_ids, position_ids, batch)
        return self._recording.replay()[: len(token_ids)].clone()

    def computed_logits(self) -> Tensor:
        """The same of the step before, computed anew from what it read."""
        return self._compute()[: self._inputs.num_rows]


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What came of the first replay of a size."""

    step: RecordedStep | None = None
    reason: str = ""
    """Why there is no step."""
    replayed: Tensor = torch.empty(0)
    """Logits (rows, vocab_size) of the replay."""
    again: Tensor = torch.empty(0)
    """The same, computed in the same size."""

    def proves(self, logits: Tensor, dtype: torch.dtype) -> bool:
        """Whether the replay has the logits (rows, vocab_size) that were computed as ever.

        dtype: of the weights.
        """
        is_same = _is_close(self.replayed, self.again, _SAME[dtype])
        return is_same and _is_close(self.again, logits, _ALIKE[dtype])


def install_graphs(
    network: Network, pool: KVPool, plan: GraphPlan, ranks: Ranks, report: Report
) -> None:
    """Let a network that is proven decode from graphs, if that is planned."""
    if plan.recorder is not None:
        network.shortcut = DecodeGraphs(network, pool, plan.recorder, plan.sizes, ranks, report)


def _table_width(network: Network, pool: KVPool) -> int:
    """Blocks of a row at most; one that has more all the same is computed as ever."""
    longest = max_positions(network.config)
    return min(-(-longest // pool.block_size) or pool.num_blocks, pool.num_blocks)


def _is_decode(
    token_ids: Tensor, keep: Tensor, embeddings: Tensor | None, batch: AttentionBatch
) -> bool:
    """Whether every row has one token, which chooses, is no image, and sees nothing behind it.

    As many kept tokens as there are can only be all of them, in their order.
    """
    is_plain = embeddings is None and batch.stops is None
    return is_plain and len(keep) == len(token_ids) == batch.num_rows


def _is_close(some: Tensor, others: Tensor, tolerance: float) -> bool:
    """Whether logits (rows, vocab_size) are the same in every row, but for noise."""
    difference = (some.float() - others.float()).square().mean(-1).sqrt()
    size = others.float().square().mean(-1).sqrt()
    return bool((difference <= tolerance * size).all())
