"""When a decode step comes from a graph, and when a graph is refused: on a network of sums."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tape import TapeRecorder
from torch import Tensor
from transformers import LlamaConfig

import inlay_kernels
from inlay_kernels import AttentionBatch
from inlay_shard.cuda_graphs.decode_graphs import DecodeGraphs
from inlay_shard.cuda_graphs.graph_plan import NO_GRAPHS, plan_graphs
from inlay_shard.cuda_graphs.recording import CannotRecord, Computation, Recording
from inlay_shard.machine.parallel import Alone, Ranks
from inlay_shard.model.cache import KVPool

BLOCK_SIZE = 4
NUM_BLOCKS = 8


class Sums:
    """A network whose logits show what each row read."""

    shortcut = None
    num_position_axes = 3
    dtype = torch.float32
    config = LlamaConfig(max_position_embeddings=NUM_BLOCKS * BLOCK_SIZE)

    def __init__(self, frozen: Callable[[AttentionBatch], float] = lambda batch: 0.0) -> None:
        """frozen: a number that Python reads, and adds to all logits."""
        self.pool = KVPool(
            [],
            inlay_kernels.REFERENCE,
            num_blocks=NUM_BLOCKS,
            num_scratch_blocks=2,
            block_size=BLOCK_SIZE,
            dtype=torch.float32,
            device=torch.device("cpu"),
        )
        self.num_computed = 0
        self._frozen = frozen

    def plain_logits(
        self, token_ids: Tensor, position_ids: Tensor, keep: Tensor, embeddings: Tensor | None
    ) -> Tensor:
        self.num_computed += 1
        batch = self.pool.current.batch
        place = (batch.context_lengths.long() - 1).unsqueeze(1) // BLOCK_SIZE
        last = batch.block_tables.gather(1, place)[:, 0]
        parts = [token_ids, *position_ids, batch.slots, batch.context_lengths, last]
        return torch.stack([part.float() for part in parts], 1)[keep] + self._frozen(batch)


class Others:
    """Two ranks, of which the other says what is scripted."""

    rank = 0
    num_ranks = 2

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)

    def share(self, table: Tensor) -> Tensor:
        raise AssertionError("nothing is shared here")

    def least(self, table: Tensor) -> Tensor:
        return table * self._answers.pop(0)


class Broken:
    """Records nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.num_asked = 0

    def rehearse(self, compute: Computation) -> None:
        raise AssertionError("this is for the start")

    def record(self, compute: Computation) -> Recording:
        self.num_asked += 1
        raise self._error


class Asking:
    """Graphs over a network, and steps for them."""

    def __init__(
        self,
        network: Sums,
        recorder: TapeRecorder | Broken,
        ranks: Ranks | None = None,
        sizes: tuple[int, ...] = (2, 4),
    ) -> None:
        self.network = network
        self.lines: list[str] = []
        self.graphs = DecodeGraphs(
            network,  # type: ignore[arg-type]
            network.pool,
            recorder,
            sizes,
            ranks or Alone(),
            self.lines.append,
        )

    def ask(self, lengths: list[int]) -> tuple[Tensor, Tensor]:
        """Logits of a decode step with a row of each length, and those that it should have."""
        inputs = self._lay_out(lengths)
        given = self.graphs(*inputs)
        return given, self.network.plain_logits(*inputs)

    def _lay_out(self, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor, None]:
        """Row r has its blocks from 7 - r downwards."""
        num_blocks = -(-max(lengths) // BLOCK_SIZE)
        tables = torch.zeros(len(lengths), num_blocks, dtype=torch.int32)
        slots = torch.zeros(len(lengths), dtype=torch.int64)
        for row, length in enumerate(lengths):
            tables[row] = (NUM_BLOCKS - 1 - row - torch.arange(num_blocks)) % NUM_BLOCKS
            slots[row] = tables[row, (length - 1) // BLOCK_SIZE] * BLOCK_SIZE
        self.network.pool.current.batch = AttentionBatch(
            row_starts=torch.arange(len(lengths) + 1, dtype=torch.int32),
            context_lengths=torch.tensor(lengths, dtype=torch.int32),
            block_tables=tables,
            slots=slots,
        )
        token_ids = torch.tensor(lengths) * 3 + 1
        positions = torch.stack([torch.tensor(lengths) + axis for axis in range(3)])
        return token_ids, positions, torch.arange(len(lengths)), None


@pytest.mark.parametrize(("sizes", "num_lines"), [((1, 2), 1), ((), 0)])
def test_without_triton_there_are_none_and_it_is_said(
    sizes: tuple[int, ...], num_lines: int
) -> None:
    lines: list[str] = []
    network: Any = SimpleNamespace(device=torch.device("cuda", 0))
    plan = plan_graphs(
        network,
        inlay_kernels.REFERENCE,
        [],
        Alone(),
        lines.append,
        sizes=sizes,
        block_size=BLOCK_SIZE,
        vocab_size=10,
    )
    assert plan == NO_GRAPHS
    assert len(lines) == num_lines


def test_a_batch_takes_the_smallest_size_that_holds_it() -> None:
    """Batches that shrink and grow leave nothing of each other in the rows that are not theirs."""
    recorder = TapeRecorder()
    asking = Asking(Sums(), recorder)
    for lengths in ([5, 9, 2], [7], [1, 1, 30, 4], [6, 3], [9, 9, 9], [2]):
        given, expected = asking.ask(lengths)
        assert torch.equal(given, expected)
    assert repr(asking.graphs) == "DecodeGraphs([2, 4] of [2, 4])"
    assert len(recorder.recordings) == 2
    assert recorder.num_replays == 6
    assert asking.lines == [
        "decode steps of up to 4 rows come from a CUDA graph",
        "decode steps of up to 2 rows come from a CUDA graph",
    ]


def test_no_python_of_the_model_runs_in_a_replay() -> None:
    asking = Asking(Sums(), TapeRecorder())
    asking.ask([5, 9])
    num_computed = asking.network.num_computed
    given, _ = asking.ask([6, 10])
    assert asking.network.num_computed == num_computed + 1  # by the test itself
    given_later, _ = asking.ask([7, 11])
    assert given.tolist() != given_later.tolist()  # an answer is not written over by the next


def test_what_is_not_one_token_a_row_is_computed() -> None:
    recorder = TapeRecorder()
    asking = Asking(Sums(), recorder)
    asking.ask([3, 4, 5, 6, 7])
    token_ids, positions, keep, _ = asking._lay_out([5, 9])
    asking.graphs(token_ids, positions, keep[:1], None)
    asking.graphs(token_ids, positions, keep, torch.zeros(2, 4))
    batch = asking.network.pool.current.batch
    asking.network.pool.current.batch = AttentionBatch(
        row_starts=batch.row_starts,
        context_lengths=batch.context_lengths,
        block_tables=batch.block_tables,
        slots=batch.slots,
        stops=torch.tensor([5, 9], dtype=torch.int32),
    )
    asking.graphs(token_ids, positions, keep, None)
    asking.ask([NUM_BLOCKS * BLOCK_SIZE + 1])  # longer than the model is made for
    assert recorder.recordings == []
    assert asking.lines == []


def test_a_number_frozen_while_recording_is_found() -> None:
    """Longest row of the batch, read past torch, so that recording does not notice."""
    asking = Asking(Sums(lambda batch: float(batch.context_lengths.numpy().max())), TapeRecorder())
    for lengths in ([5, 9], [6, 10], [1, 2, 3]):
        given, expected = asking.ask(lengths)
        assert torch.equal(given, expected)
    assert repr(asking.graphs) == "DecodeGraphs([] of [2, 4])"
    assert asking.lines == [
        "no CUDA graph for 2 rows, nor for any that is not there: it replays something else"
    ]


def test_a_number_read_while_recording_is_refused() -> None:
    recorder = TapeRecorder()
    asking = Asking(Sums(lambda batch: float(batch.context_lengths.max())), recorder)
    for lengths in ([5, 9], [6, 10], [1, 2, 3]):
        given, expected = asking.ask(lengths)
        assert torch.equal(given, expected)
    assert recorder.num_refused == 1
    assert asking.lines == [
        "no CUDA graph for 2 rows, nor for any that is not there: "
        "aten._local_scalar_dense.default: not permitted when stream is capturing"
    ]


def test_what_was_proven_stays_when_another_size_is_refused() -> None:
    asking = Asking(
        Sums(lambda batch: float(batch.num_rows == 4 and batch.context_lengths.max() > 2)),
        TapeRecorder(),
    )
    for lengths in ([5, 9], [6, 10, 3], [7, 11], [8]):
        given, expected = asking.ask(lengths)
        assert torch.equal(given, expected)
    assert repr(asking.graphs) == "DecodeGraphs([2] of [2, 4])"


def test_whatever_recording_raises_fails_no_request() -> None:
    broken = Broken(MemoryError("no more\nand more words"))
    asking = Asking(Sums(), broken)
    for lengths in ([5, 9], [6]):
        given, expected = asking.ask(lengths)
        assert torch.equal(given, expected)
    assert broken.num_asked == 1
    assert asking.lines[0].endswith("MemoryError: no more")


@pytest.mark.parametrize("answers", [(False, False), (True, False)], ids=["record", "proof"])
def test_ranks_refuse_together(answers: tuple[bool, ...]) -> None:
    asking = Asking(Sums(), TapeRecorder(), Others(*answers))
    for lengths in ([5, 9], [6, 10]):
        given, expected = asking.ask(lengths)
        assert torch.equal(given, expected)
    assert repr(asking.graphs) == "DecodeGraphs([] of [2, 4])"
    assert len(asking.lines) == 1


def test_a_rank_that_cannot_record_asks_as_often_as_the_others() -> None:
    others = Others(True, True)
    asking = Asking(Sums(), Broken(CannotRecord("no")), others)
    given, expected = asking.ask([5, 9])
    assert torch.equal(given, expected)
    assert others._answers == []


def test_what_is_raised_between_ranks_ends_the_process() -> None:
    """The others wait in the middle of the step."""
    asking = Asking(Sums(), Broken(RuntimeError("out of memory")), Others())
    with pytest.raises(RuntimeError, match="out of memory"):
        asking.ask([5, 9])
