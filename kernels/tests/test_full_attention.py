"""Full attention in compiled loops, against its reference in plain torch."""

import os
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from inlay_kernels.full_attention import can_attend, cpu, full_attention
from inlay_kernels.full_attention.reference import full_attention as reference

TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 0.01}
SHAPES = [
    # batch, heads, kv_heads, tokens, positions, key_size, value_size
    (1, 1, 1, 1, 1, 2, 1),
    (2, 3, 3, 13, 13, 16, 16),
    (1, 4, 2, 49, 33, 40, 24),
    (2, 2, 1, 77, 1100, 72, 72),
    (1, 2, 2, 5, 512, 8, 100),
]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """(batch, heads, tokens, size) as linear layers leave it: heads of a token side by side."""
    batch, heads, tokens, size = shape
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, tokens, heads, size, generator=random).to(dtype).transpose(1, 2)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_computes_what_the_reference_does(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    batch, heads, kv_heads, tokens, positions, key_size, value_size = shape
    query = drawn(batch, heads, tokens, key_size, dtype=dtype, seed=1)
    key = drawn(batch, kv_heads, positions, key_size, dtype=dtype, seed=2)
    value = drawn(batch, kv_heads, positions, value_size, dtype=dtype, seed=3)
    assert can_attend(query, key, value)
    ours = full_attention(query, key, value, scale=0.7)
    wanted = reference(query, key, value, scale=0.7)
    assert ours.shape == (batch, tokens, heads, value_size)
    assert ours.is_contiguous() and ours.dtype == dtype
    torch.testing.assert_close(ours, wanted, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def test_the_reference_is_torchs_own() -> None:
    query, key, value = (drawn(2, 4, 9, 8, seed=seed) for seed in range(3))
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=0.3)
    ours = reference(query, key, value, scale=0.3)
    torch.testing.assert_close(ours, theirs.transpose(1, 2))


def test_scores_that_rise_from_stretch_to_stretch_are_mended() -> None:
    """And those that are far apart: the last of 1,300 positions takes it all."""
    positions = 1300
    query = torch.ones(1, 1, 3, 2)
    key = torch.linspace(-400, 400, positions).view(1, 1, -1, 1).expand(-1, -1, -1, 2)
    value = torch.arange(positions, dtype=torch.float32).view(1, 1, -1, 1)
    ours = full_attention(query, key, value, scale=1.0)
    torch.testing.assert_close(ours, reference(query, key, value, scale=1.0))
    assert float(ours.min()) > positions - 3


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_rows_lie_as_they_like(dtype: torch.dtype) -> None:
    """Parts of one projection, heads before tokens, or numbers apart from one another."""
    qkv = drawn(2, 2, 40, 48, dtype=dtype)
    query, key, value = qkv[..., :16], qkv[..., 16:32], qkv[..., 32:]
    wanted = full_attention(*(part.clone() for part in (query, key, value)), scale=0.2)
    apart = key.transpose(2, 3).contiguous().transpose(2, 3)
    assert apart.stride(-1) != 1
    assert torch.equal(full_attention(query, apart, value.contiguous(), scale=0.2), wanted)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_neighbours_and_threads_change_no_bit(dtype: torch.dtype, two_threads: None) -> None:
    query, key, value = (drawn(3, 2, 101, 24, dtype=dtype, seed=seed) for seed in range(3))
    together = full_attention(query, key, value, scale=0.2)
    torch.set_num_threads(1)
    for entry in range(3):
        own = [part[entry : entry + 1] for part in (query, key, value)]
        assert torch.equal(full_attention(*own, scale=0.2)[0], together[entry])


def test_its_threads_are_as_nice_as_who_calls(
    two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And others than those of who calls with another priority."""
    asked: list[int] = []

    class Noting:
        def __init__(self) -> None:
            asked.append(os.getpriority(os.PRIO_PROCESS, 0))

        def run(self, *arguments: object) -> None:
            """Nothing."""

    monkeypatch.setattr(cpu, "Crew", Noting)
    cpu._crew.cache_clear()
    part = drawn(1, 1, 4, 8)

    def call_nicely() -> None:
        own_id = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own_id, os.getpriority(os.PRIO_PROCESS, own_id) + 1)
        full_attention(part, part, part, scale=1.0)
        full_attention(part, part, part, scale=1.0)

    full_attention(part, part, part, scale=1.0)
    thread = threading.Thread(target=call_nicely)
    thread.start()
    thread.join()
    monkeypatch.undo()
    cpu._crew.cache_clear()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert asked == [own, own + 1]


def test_what_it_does_not_take() -> None:
    part = drawn(2, 4, 9, 8)
    assert can_attend(part, part, part)
    assert not can_attend(part, part.double(), part)
    assert not can_attend(*[part.half()] * 3)
    assert not can_attend(*[part.to("meta")] * 3)
    assert not can_attend(part, part[:1], part[:1]), "one entry for all"
    assert not can_attend(part, part[:, :3], part[:, :3]), "heads that cannot be shared out"
    assert not can_attend(part, part[..., :6], part), "keys of another size"
    assert not can_attend(part, part, part[:, :, :5]), "fewer values than keys"
    assert not can_attend(*[part[..., :7].bfloat16()] * 3), "an odd size in pairs"
    assert can_attend(*[part[..., :7]] * 3)
