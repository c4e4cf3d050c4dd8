"""The compiled tower against its plain form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from inlay_kernels import AttentionBatch, select
from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import (
    Decoder,
    Inputs,
    LayerWeights,
    PackedTower,
    Shape,
    StreamedLinear,
)
from inlay_kernels.decoder.cache_layout import padded_width
from inlay_kernels.decoder.crew import claim, finish, run
from inlay_kernels.decoder.forms import PANEL
from inlay_kernels.decoder.packing import pack, quantise, unpack
from inlay_kernels.decoder.reference import decode

BLOCK_SIZE = PANEL
NUM_BLOCKS = 160
LENGTHS = (1, 37, 70, 1100)
"""Context lengths of the rows of a batch: less than a panel to more than two stretches."""
NEW = (1, 3, 70, 13)
"""Tokens that are computed of each."""

Caches = list[tuple[Tensor, Tensor]]


@dataclass
class Tower:
    """A small tower of random weights."""

    shape: Shape
    layers: list[LayerWeights]
    final_norm: Tensor
    dtype: torch.dtype

    def packed(self, *, is_quantised: bool = False) -> PackedTower:
        packed = PackedTower(self.shape, self.dtype, self.final_norm, is_quantised=is_quantised)
        for place, layer in enumerate(self.layers):
            packed.put(place, layer)
        return packed

    def caches(self) -> Caches:
        """Filled at random, the same each time: what was computed before."""
        generator = torch.Generator().manual_seed(5)
        size = (NUM_BLOCKS, BLOCK_SIZE, self.shape.num_kv_heads, self.shape.head_size)
        made = torch.randn(self.shape.num_layers, 2, *size, generator=generator).to(self.dtype)
        return [(keys, values) for keys, values in made.clone()]


def laid_out(caches: Caches) -> Caches:
    """Plain caches (num_blocks, block_size, kv_heads, head_size) as a decoder has them."""
    return [
        (lay_out(keys, is_keys=True), lay_out(values, is_keys=False)) for keys, values in caches
    ]


def lay_out(cache: Tensor, *, is_keys: bool) -> Tensor:
    num_blocks, block_size, num_kv_heads, head_size = cache.shape
    width = padded_width(head_size)
    heads = functional.pad(cache, (0, width - head_size)).transpose(1, 2).flatten(0, 1)
    packed = torch.stack([pack(head if is_keys else head.T) for head in heads])
    return packed.view(num_blocks, block_size, num_kv_heads, width)


def plain(cache: Tensor, head_size: int, *, is_keys: bool) -> Tensor:
    """What `lay_out` laid out: (num_blocks, block_size, kv_heads, head_size)."""
    num_blocks, block_size, num_kv_heads, width = cache.shape
    size = (block_size, width) if is_keys else (width, block_size)
    heads = [unpack(head, *size) for head in cache.view(-1, block_size * width)]
    matrices = torch.stack([head if is_keys else head.T for head in heads])
    split = matrices.view(num_blocks, num_kv_heads, block_size, width)
    return split.transpose(1, 2)[..., :head_size]


def make_tower(dtype: torch.dtype, *, is_odd: bool = False, window: int | None = None) -> Tower:
    """is_odd: with biases, norms of heads, GELU, a part of the head unturned."""
    shape = Shape(
        num_layers=2,
        hidden_size=40,
        num_heads=4,
        num_kv_heads=2,
        head_size=12,
        rotary_size=8 if is_odd else 12,
        intermediate_size=50,
        epsilon=np.float32(1e-5),
        head_epsilon=np.float32(1e-6),
        has_head_norms=is_odd,
        has_gelu=is_odd,
    )
    generator = torch.Generator().manual_seed(3)

    def random(*size: int) -> Tensor:
        numbers = torch.randn(size, generator=generator)
        return (numbers / math.sqrt(size[-1])).to(dtype)

    sizes = [(48, 40), (24, 40), (24, 40), (40, 48), (50, 40), (50, 40), (40, 50)]
    layers = [
        LayerWeights(
            projections=[random(*size) for size in sizes],
            biases=[random(size[0]) if is_odd else None for size in sizes],
            attention_norm=1 + random(40),
            mlp_norm=1 + random(40),
            head_norms=(1 + random(12), 1 + random(12)) if is_odd else None,
            attention_scale=0.3,
            window=window,
        )
        for _ in range(2)
    ]
    return Tower(shape, layers, 1 + random(40), dtype)


def make_batch(
    rows: Sequence[int], new: Sequence[int] = NEW
) -> tuple[Tensor, AttentionBatch, Tensor, Tensor]:
    """Embeddings, batch, cosines and sines of some of the rows of LENGTHS, of which `new` tokens
    are computed."""
    generator = torch.Generator().manual_seed(9)
    embeddings = [torch.randn(count, 40, generator=generator) for count in new]
    tables = torch.randperm(NUM_BLOCKS, generator=generator).view(4, 40)
    places = [torch.arange(LENGTHS[row] - new[row], LENGTHS[row]) for row in rows]
    slots = [
        tables[row, own // BLOCK_SIZE] * BLOCK_SIZE + own % BLOCK_SIZE
        for row, own in zip(rows, places, strict=True)
    ]
    counts = torch.tensor([0, *(new[row] for row in rows)])
    batch = AttentionBatch(
        row_starts=counts.cumsum(0).to(torch.int32),
        context_lengths=torch.tensor([LENGTHS[row] for row in rows], dtype=torch.int32),
        block_tables=tables[list(rows)].to(torch.int32),
        slots=torch.cat(slots),
    )
    angles = torch.cat(places).unsqueeze(1) * torch.linspace(0.1, 1, 6).repeat(2)
    return torch.cat([embeddings[row] for row in rows]), batch, angles.cos(), angles.sin()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_odd", [False, True])
@pytest.mark.parametrize("window", [None, 7, 600])
def test_rows_of_all_lengths_equal_the_reference(
    dtype: torch.dtype, is_odd: bool, window: int | None
) -> None:
    tower = make_tower(dtype, is_odd=is_odd, window=window)
    embeddings, batch, cosines, sines = make_batch(range(4))
    cosines, sines = (part[:, : tower.shape.rotary_size] for part in (cosines, sines))
    caches, expected_caches = laid_out(tower.caches()), tower.caches()
    expected = decode(
        tower.shape, tower.layers, tower.final_norm, expected_caches, embeddings, batch,
        cosines, sines,
    )  # fmt: skip
    found = Decoder(tower.packed(), caches)(embeddings, batch, cosines, sines)
    assert found.dtype == dtype
    tolerance = 2e-5 if dtype == torch.float32 else 0.08
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)
    for pair, expected_pair in zip(caches, expected_caches, strict=True):
        for is_keys, ours, theirs in zip((True, False), pair, expected_pair, strict=True):
            kept = plain(ours, 12, is_keys=is_keys).flatten(0, 1)[batch.slots]
            torch.testing.assert_close(
                kept, theirs.flatten(0, 1)[batch.slots], rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_odd", [False, True])
def test_a_tower_in_int8_equals_the_reference_of_its_quantised_weights(
    dtype: torch.dtype, is_odd: bool
) -> None:
    tower = make_tower(dtype, is_odd=is_odd)
    layers = [
        replace(layer, projections=[rounded(weight) for weight in layer.projections])
        for layer in tower.layers
    ]
    embeddings, batch, cosines, sines = make_batch(range(4))
    cosines, sines = (part[:, : tower.shape.rotary_size] for part in (cosines, sines))
    expected = decode(
        tower.shape, layers, tower.final_norm, tower.caches(), embeddings, batch, cosines, sines
    )
    decoder = Decoder(tower.packed(is_quantised=True), laid_out(tower.caches()))
    found = decoder(embeddings, batch, cosines, sines)
    assert found.dtype == dtype
    tolerance = 2e-5 if dtype == torch.float32 else 0.08
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_quantised", [False, True])
@pytest.mark.parametrize("sees_ahead", [False, True])
@pytest.mark.parametrize("kept", [[0, 3, 73, 86, 85], [2], [60, 59, 86], list(range(87))])
def test_logits_are_those_of_the_head_over_the_last_hidden_states(
    dtype: torch.dtype, is_quantised: bool, sees_ahead: bool, kept: list[int]
) -> None:
    tower = make_tower(dtype, window=50)
    embeddings, batch, cosines, sines = make_batch(range(4))
    if sees_ahead:
        ends = np.repeat(LENGTHS, NEW).astype(np.int32)
        batch = replace(batch, stops=torch.from_numpy(ends))
    embeddings = embeddings.to(dtype)
    head = StreamedLinear(nn.Linear(40, 71).to(dtype), is_quantised=is_quantised)
    hidden = Decoder(tower.packed(), laid_out(tower.caches()))(embeddings, batch, cosines, sines)
    keep = torch.tensor(kept)
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(1))
    inputs = Inputs(
        as_array(embeddings[order]), order.argsort().numpy(),
        cosines[order].numpy(), sines[order].numpy(), order.argsort().numpy(),
    )  # fmt: skip
    decoder = Decoder(tower.packed(), laid_out(tower.caches()))
    logits, likeliest = decoder.stand(inputs, batch, keep, head).rated()
    assert torch.equal(logits, head(hidden[keep]))
    for found, expected in zip(likeliest, select("cpu").most_likely(logits), strict=True):
        assert torch.equal(found, expected)


def test_a_batch_whose_numbers_have_moved_on_is_read_anew() -> None:
    tower = make_tower(torch.float32)
    embeddings, batch, cosines, sines = make_batch([1])
    decoder = Decoder(tower.packed(), laid_out(tower.caches()))
    decoder(embeddings, batch, cosines, sines)
    batch.context_lengths.sub_(1)
    batch.slots.sub_(1)
    found = decoder(embeddings, batch, cosines, sines)
    anew = Decoder(tower.packed(), laid_out(tower.caches()))(embeddings, batch, cosines, sines)
    assert torch.equal(found, anew)


def rounded(weight: Tensor) -> Tensor:
    """A matrix as int8 holds it, in float32."""
    small, scales = quantise(weight)
    return small * scales.unsqueeze(1)


def test_images_that_see_ahead_equal_the_reference() -> None:
    tower = make_tower(torch.float32)
    embeddings, batch, cosines, sines = make_batch([2, 1])
    own = torch.cat([torch.arange(70), torch.arange(34, 37)])
    stops = (own + 1).clamp(min=50).to(torch.int32)
    stops[70:] = 37
    ahead = AttentionBatch(
        row_starts=batch.row_starts,
        context_lengths=batch.context_lengths,
        block_tables=batch.block_tables,
        slots=batch.slots,
        stops=stops,
    )
    expected = decode(
        tower.shape, tower.layers, tower.final_norm, tower.caches(), embeddings, ahead,
        cosines, sines,
    )  # fmt: skip
    found = Decoder(tower.packed(), laid_out(tower.caches()))(embeddings, ahead, cosines, sines)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("row", range(4))
def test_a_row_alone_has_the_bits_it_has_in_a_crowd(row: int) -> None:
    tower = make_tower(torch.float32)
    decoder = Decoder(tower.packed(), laid_out(tower.caches()))
    crowd = decoder(*make_batch(range(4)))
    alone = Decoder(tower.packed(), laid_out(tower.caches()))(*make_batch([row]))
    first = sum(NEW[:row])
    assert torch.equal(alone, crowd[first : first + NEW[row]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_in_blocks_of_threads_have_the_bits_they_have_in_one(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = make_tower(dtype)
    found = []
    for num_threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=num_threads: count)
        decoder = Decoder(tower.packed(), laid_out(tower.caches()))
        found.append(decoder(*make_batch(range(4), new=(1, 3, 70, 250))))
    assert torch.equal(found[1], found[0]) and torch.equal(found[2], found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_others_left_in_blocks_does_no_harm(dtype: torch.dtype) -> None:
    tower = make_tower(dtype)
    embeddings, batch, cosines, sines = make_batch([0, 2])
    clean = Decoder(tower.packed(), laid_out(tower.caches()))(embeddings, batch, cosines, sines)
    left = [(torch.full_like(k, math.nan), torch.full_like(v, math.nan)) for k, v in tower.caches()]
    found = Decoder(tower.packed(), laid_out(left))(embeddings, batch, cosines, sines)
    assert torch.equal(found, clean)


def test_blocks_of_broken_panels_are_refused() -> None:
    tower = make_tower(torch.float32)
    keys = torch.zeros(4, PANEL // 2, 2, PANEL)
    with pytest.raises(ValueError, match="do not fit"):
        Decoder(tower.packed(), [(keys, keys.clone())] * 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_tower_gives_its_weights_back(dtype: torch.dtype) -> None:
    tower = make_tower(dtype)
    packed = tower.packed()
    for place, layer in enumerate(tower.layers):
        for found, expected in zip(packed.projections(place), layer.projections, strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_unpacking_undoes_packing(dtype: torch.dtype) -> None:
    weight = (torch.randn(70, 37) * 20).to(dtype)
    assert torch.equal(unpack(pack(weight), 70, 37), weight)


def test_quantised_rows_are_near() -> None:
    weight = torch.randn(5, 300)
    small, scales = quantise(weight)
    assert small.dtype == torch.int8
    assert ((small * scales.unsqueeze(1) - weight).abs() <= scales.unsqueeze(1) / 2 + 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_rows", [1, 7, 12, 13, 30])
def test_a_streamed_layer_equals_the_plain_one(dtype: torch.dtype, num_rows: int) -> None:
    linear = nn.Linear(37, 70).to(dtype)
    x = torch.randn(num_rows, 37).to(dtype)
    expected = functional.linear(x.float(), linear.weight.float(), linear.bias.float())
    found = StreamedLinear(linear)(x)
    tolerance = 1e-5 if dtype == torch.float32 else 0.01
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_streamed_layer_in_int8_equals_its_quantised_weights(dtype: torch.dtype) -> None:
    linear = nn.Linear(37, 70).to(dtype)
    x = torch.randn(13, 37).to(dtype)
    expected = functional.linear(x.float(), rounded(linear.weight), linear.bias.float())
    found = StreamedLinear(linear, is_quantised=True)(x)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.01
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


def test_a_crew_does_each_task_of_each_phase_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done = np.zeros((4, 50), np.int64)

    def loop(state: object, num_threads: int, thread: int) -> None:
        for phase in range(4):
            task = claim(state, num_threads, thread, phase, 50)
            num_done = 0
            while task >= 0:
                assert phase == 0 or done[phase - 1].all()
                done[phase, task] += 1
                num_done += 1
                task = claim(state, num_threads, thread, phase, 50)
            finish(state, num_threads, phase, num_done, 50)

    run(loop, 4)
    assert (done == 1).all()
