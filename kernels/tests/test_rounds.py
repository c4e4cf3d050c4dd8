"""Steps that threads begin by themselves are those that are asked for, one by one."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inlay_kernels import AttentionBatch
from inlay_kernels.decoder import (
    Decoder,
    Inputs,
    LayerWeights,
    PackedTower,
    Shape,
    StandingBatch,
    StreamedLinear,
    padded_width,
)
from inlay_kernels.decoder.rounds import Rounds

BLOCK_SIZE = 32
NUM_STEPS = 50
"""Enough for every row to enter a block."""
NUM_TOKENS = 71
LENGTHS = (1, 37, 64, 200)
NUM_BLOCKS = 10
"""Of a row."""


@pytest.fixture(params=[1, 2, 3], ids=lambda count: f"{count} threads")
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@dataclass
class Case:
    """A small tower, and four rows of one token each that stand in it."""

    decoder: Decoder
    token_ids: Tensor
    positions: Tensor
    batch: AttentionBatch
    standing: StandingBatch

    def move_on(self, token_ids: Tensor) -> None:
        """What compiled code does where it goes on."""
        batch = self.batch
        position = batch.context_lengths.long()
        block = batch.block_tables[torch.arange(4), position // BLOCK_SIZE].long()
        batch.slots.copy_(block * BLOCK_SIZE + position % BLOCK_SIZE)
        batch.context_lengths.add_(1)
        self.positions.add_(1)
        self.token_ids.copy_(token_ids)


def make_decoder() -> Decoder:
    """Over a small tower and a cache of random numbers, the same each time."""
    shape = Shape(
        num_layers=2,
        hidden_size=40,
        num_heads=4,
        num_kv_heads=2,
        head_size=12,
        rotary_size=12,
        intermediate_size=50,
        epsilon=np.float32(1e-5),
        head_epsilon=np.float32(1e-6),
        has_head_norms=False,
        has_gelu=False,
    )
    torch.manual_seed(3)
    tower = PackedTower(shape, torch.float32, torch.ones(40))
    sizes = [(48, 40), (24, 40), (24, 40), (40, 48), (50, 40), (50, 40), (40, 50)]
    for layer in range(2):
        tower.put(
            layer,
            LayerWeights(
                projections=[torch.randn(size) / 6 for size in sizes],
                biases=[None] * len(sizes),
                attention_norm=torch.ones(40),
                mlp_norm=torch.ones(40),
                head_norms=None,
                attention_scale=0.3,
                window=None,
            ),
        )
    size = (4 * NUM_BLOCKS, BLOCK_SIZE, 2, padded_width(12))
    return Decoder(tower, [(torch.randn(size), torch.randn(size)) for _ in range(2)])


def make_batch() -> AttentionBatch:
    """One new token of each row."""
    lengths = torch.tensor(LENGTHS, dtype=torch.int32)
    tables = torch.randperm(4 * NUM_BLOCKS, dtype=torch.int32).view(4, NUM_BLOCKS)
    position = lengths.long() - 1
    block = tables[torch.arange(4), position // BLOCK_SIZE].long()
    return AttentionBatch(
        row_starts=torch.arange(5, dtype=torch.int32),
        context_lengths=lengths,
        block_tables=tables,
        slots=block * BLOCK_SIZE + position % BLOCK_SIZE,
    )


def make_case() -> Case:
    decoder = make_decoder()
    batch = make_batch()
    head = StreamedLinear(nn.Linear(40, NUM_TOKENS).requires_grad_(False))
    angles = torch.arange(400).unsqueeze(1) * torch.linspace(0.1, 1, 6).repeat(2)
    token_ids, positions = torch.tensor([5, 6, 7, 8]), torch.tensor(LENGTHS) - 1
    inputs = Inputs(
        torch.randn(NUM_TOKENS, 40).numpy(),
        token_ids.numpy(),
        angles.cos().numpy(),
        angles.sin().numpy(),
        positions.numpy(),
    )
    standing = decoder.stand(inputs, batch, torch.arange(4), head)
    return Case(decoder, token_ids, positions, batch, standing)


def test_going_on_gives_the_tokens_of_one_step_after_the_other(num_threads: int) -> None:
    asked, ahead = make_case(), make_case()
    for step in range(NUM_STEPS):
        _, expected = asked.standing.rated()
        _, found = ahead.standing.rated(goes_on=step % 7 != 3)
        for part, other in zip(found, expected, strict=True):
            assert torch.equal(part, other)
        asked.move_on(expected.token_ids)
        if step % 7 == 3:
            ahead.move_on(found.token_ids)
        assert torch.equal(ahead.token_ids, asked.token_ids)
        assert torch.equal(ahead.positions, asked.positions)
        assert torch.equal(ahead.batch.slots, asked.batch.slots)
        assert torch.equal(ahead.batch.context_lengths, asked.batch.context_lengths)


def test_what_was_begun_ahead_is_given_up_for_another_batch(num_threads: int) -> None:
    generator = torch.Generator().manual_seed(9)
    embeddings = torch.randn(4, 40, generator=generator)
    turned = torch.ones(4, 12), torch.zeros(4, 12)
    decoder = make_decoder()
    expected = decoder(embeddings, make_batch(), *turned)
    for _ in range(20):
        case = make_case()
        batch = replace(case.batch, context_lengths=case.batch.context_lengths.clone())
        batch = replace(batch, slots=case.batch.slots.clone())
        case.standing.rated(goes_on=True)
        found = case.decoder(embeddings, batch, *turned)
        assert case.standing.is_over
        assert torch.equal(found, expected)


def test_mates_that_have_left_come_back(num_threads: int) -> None:
    asked, ahead = make_case(), make_case()
    for _ in range(3):
        _, expected = asked.standing.rated()
        asked.move_on(expected.token_ids)
        _, found = ahead.standing.rated(goes_on=True)
        assert torch.equal(found.token_ids, expected.token_ids)
        while rounds_of(ahead).num_present:
            time.sleep(0.001)


def test_nobody_is_present_behind_the_end(num_threads: int) -> None:
    case = make_case()
    for _ in range(5):
        case.standing.rated(goes_on=True)
    case.standing.give_up()
    before = case.token_ids.clone(), case.batch.slots.clone()
    waited = threading.Event()
    assert not waited.wait(0.02)
    assert torch.equal(case.token_ids, before[0]) and torch.equal(case.batch.slots, before[1])


def rounds_of(case: Case) -> Rounds:
    return case.standing._rounds
