"""Every form of paged attention that runs here, held against the plain reference."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import inlay_kernels.launch as launch_module
from inlay_kernels import AttentionBatch, PagedAttention, select
from inlay_kernels.paged_attention import cpu, reference

NUM_BLOCKS = 64


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch of rows, each (tokens of this step, tokens before them), and a model's shape."""

    rows: tuple[tuple[int, int], ...]
    num_kv_heads: int = 2
    group: int = 3
    head_size: int = 16
    block_size: int = 4
    sliding_window: int | None = None
    softcap: float | None = None
    sees_ahead: bool = False
    """Whether tokens see a few positions behind their own."""
    has_sinks: bool = False
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Inputs:
    query: torch.Tensor
    key_cache: torch.Tensor
    value_cache: torch.Tensor
    batch: AttentionBatch
    sinks: torch.Tensor | None


def build(case: Case) -> Inputs:
    """Random inputs; what no row may read is NaN."""
    generator = torch.Generator().manual_seed(0)
    lengths = [num_tokens + num_before for num_tokens, num_before in case.rows]
    starts = [0]
    for num_tokens, _ in case.rows:
        starts.append(starts[-1] + num_tokens)
    shape = (NUM_BLOCKS, case.block_size, case.num_kv_heads, case.head_size)
    caches = [torch.full(shape, float("nan"), dtype=case.dtype) for _ in range(2)]
    tables = torch.randperm(NUM_BLOCKS, generator=generator, dtype=torch.int32)
    tables = tables[: len(lengths) * (NUM_BLOCKS // len(lengths))].view(len(lengths), -1)
    for table, length in zip(tables, lengths, strict=True):
        places = torch.arange(length)
        slots = table[places // case.block_size] * case.block_size + places % case.block_size
        for cache in caches:
            values = torch.randn(length, *shape[2:], generator=generator).to(case.dtype)
            cache.flatten(0, 1)[slots] = values
    heads = case.num_kv_heads * case.group
    query = torch.randn(starts[-1], heads, case.head_size, generator=generator).to(case.dtype)
    batch = AttentionBatch(
        row_starts=torch.tensor(starts, dtype=torch.int32),
        context_lengths=torch.tensor(lengths, dtype=torch.int32),
        block_tables=tables,
        slots=torch.zeros(starts[-1], dtype=torch.int64),
        stops=_stops(case) if case.sees_ahead else None,
    )
    sinks = torch.randn(heads, generator=generator) if case.has_sinks else None
    return Inputs(query, caches[0], caches[1], batch, sinks)


def _stops(case: Case) -> torch.Tensor:
    """Positions in groups of five see each other; the context ends where it ends."""
    stops = []
    for num_tokens, num_before in case.rows:
        own = torch.arange(num_before, num_before + num_tokens)
        stops.append(((own // 5 + 1) * 5).clamp(max=num_before + num_tokens))
    return torch.cat(stops).to(torch.int32)


def attend(form: PagedAttention, case: Case) -> torch.Tensor:
    inputs = build(case)
    return form(
        inputs.query,
        inputs.key_cache,
        inputs.value_cache,
        inputs.batch,
        scale=0.3,
        sliding_window=case.sliding_window,
        softcap=case.softcap,
        sinks=inputs.sinks,
    )


def assert_agrees(form: PagedAttention, case: Case) -> None:
    expected = attend(reference.paged_attention, case)
    assert torch.isfinite(expected).all()
    tolerance = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[case.dtype]
    torch.testing.assert_close(attend(form, case), expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def triton_form(monkeypatch: pytest.MonkeyPatch) -> PagedAttention:
    """The Triton form on a GPU, or in Triton's interpreter where there is none."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="triton is not installed (the extra `gpu` brings it)")
    from inlay_kernels.paged_attention import triton

    def form(
        query: torch.Tensor,
        key_cache: torch.Tensor,
        value_cache: torch.Tensor,
        batch: AttentionBatch,
        *,
        scale: float,
        sliding_window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return triton.paged_attention(
            query.to(device),
            key_cache.to(device),
            value_cache.to(device),
            batch.to(device),
            scale=scale,
            sliding_window=sliding_window,
            softcap=softcap,
            sinks=None if sinks is None else sinks.to(device),
        ).cpu()

    return form


MIXED = ((1, 0), (1, 37), (20, 5), (9, 0), (3, 8), (1, 15))
CASES = {
    "decode": Case(rows=((1, 0), (1, 3), (1, 16), (1, 40))),
    "prefill": Case(rows=((17, 0), (30, 0))),
    "prefill in chunks": Case(rows=((12, 9), (16, 16))),
    "mixed": Case(rows=MIXED),
    "one head each": Case(rows=MIXED, group=1, num_kv_heads=5),
    "one KV head": Case(rows=MIXED, group=7, num_kv_heads=1),
    "odd head size": Case(rows=MIXED, head_size=20),
    "odd block size": Case(rows=MIXED, block_size=7),
    "large head": Case(rows=((1, 9), (10, 2)), head_size=128, block_size=16),
    "sliding window": Case(rows=MIXED, sliding_window=6),
    "window of one": Case(rows=MIXED, sliding_window=1),
    "window beyond the context": Case(rows=((12, 0), (1, 5)), sliding_window=100),
    "softcap": Case(rows=MIXED, softcap=1.5),
    "softcap and window": Case(rows=MIXED, softcap=1.5, sliding_window=5),
    "images seen at once": Case(rows=MIXED, sees_ahead=True),
    "images seen at once, window": Case(rows=MIXED, sees_ahead=True, sliding_window=4),
    "images seen at once, softcap": Case(rows=MIXED, sees_ahead=True, softcap=1.5),
    "sinks": Case(rows=MIXED, has_sinks=True),
    "sinks and window": Case(rows=MIXED, has_sinks=True, sliding_window=6),
    "bfloat16": Case(rows=MIXED, dtype=torch.bfloat16),
    "bfloat16, window": Case(rows=MIXED, dtype=torch.bfloat16, sliding_window=6),
    "float16": Case(rows=MIXED, dtype=torch.float16),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_cpu_form_equals_the_reference(case: Case) -> None:
    assert_agrees(cpu.paged_attention, case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_triton_form_equals_the_reference(case: Case, triton_form: PagedAttention) -> None:
    if case.dtype == torch.bfloat16 and not torch.cuda.is_available():
        pytest.skip("Triton's interpreter does not multiply bfloat16")
    assert_agrees(triton_form, case)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 20)), min_size=1, max_size=5),
    block_size=st.integers(3, 9),
    sliding_window=st.none() | st.integers(1, 20),
    sees_ahead=st.booleans(),
    has_sinks=st.booleans(),
)
def test_the_cpu_form_equals_the_reference_on_any_rows(
    rows: list[tuple[int, int]],
    block_size: int,
    sliding_window: int | None,
    sees_ahead: bool,
    has_sinks: bool,
) -> None:
    case = Case(
        rows=tuple(rows),
        block_size=block_size,
        sliding_window=sliding_window,
        sees_ahead=sees_ahead,
        has_sinks=has_sinks,
    )
    assert_agrees(cpu.paged_attention, case)


def test_several_threads_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_module, "_MIN_PARALLEL_WORK", 0)
    case = CASES["mixed"]
    one = attend(cpu.paged_attention, case)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(attend(cpu.paged_attention, case), one)


def test_the_reference_equals_plain_attention_over_one_sequence() -> None:
    case = Case(rows=((11, 0),), group=1)
    inputs = build(case)
    blocks = inputs.batch.block_tables[0].long()
    keys = inputs.key_cache[blocks].flatten(0, 1)[:11].transpose(0, 1)
    values = inputs.value_cache[blocks].flatten(0, 1)[:11].transpose(0, 1)
    expected = torch.nn.functional.scaled_dot_product_attention(
        inputs.query.transpose(0, 1), keys, values, is_causal=True, scale=0.3
    )
    torch.testing.assert_close(
        attend(reference.paged_attention, case), expected.transpose(0, 1), rtol=2e-5, atol=2e-5
    )


def test_a_query_need_not_be_contiguous() -> None:
    inputs = build(CASES["mixed"])
    strided = inputs.query.transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous()
    paged_attention = select("cpu").paged_attention
    outputs = [
        paged_attention(query, inputs.key_cache, inputs.value_cache, inputs.batch, scale=0.3)
        for query in (inputs.query, strided)
    ]
    assert torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("form", [reference.paged_attention, cpu.paged_attention])
def test_a_row_with_nan_leaves_its_neighbours_alone(form: PagedAttention) -> None:
    case = CASES["decode"]
    inputs = build(case)
    clean = attend(form, case)
    inputs.query[1] = float("nan")
    inputs.value_cache[inputs.batch.block_tables[2, :4].long()] = float("nan")
    output = form(inputs.query, inputs.key_cache, inputs.value_cache, inputs.batch, scale=0.3)
    assert torch.equal(output[[0, 3]], clean[[0, 3]])
    assert output[2].isnan().all()


def test_what_is_seen_ahead_and_sinks_matter() -> None:
    plain = attend(reference.paged_attention, CASES["mixed"])
    for name in ("images seen at once", "sinks"):
        assert not torch.allclose(attend(reference.paged_attention, CASES[name]), plain, atol=1e-3)
