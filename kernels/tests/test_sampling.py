"""Masks and draws: the reference against its definitions, the CPU form against the reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay_kernels import REFERENCE, Kernels, Likeliest, Warping, select

CPU = select("cpu")
FORMS = [pytest.param(REFERENCE, id="reference"), pytest.param(CPU, id="cpu")]
INF = float("inf")


def random_logits(num_rows: int, vocab_size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(num_rows, vocab_size, generator=generator)


def warping(
    num_rows: int,
    temperature: float = 1.0,
    top_k: int = 10**6,
    top_p: float = 1.0,
    typical_p: float = 1.0,
) -> Warping:
    return Warping(
        temperature=torch.full((num_rows,), temperature),
        top_k=torch.full((num_rows,), top_k),
        top_p=torch.full((num_rows,), top_p, dtype=torch.float64),
        typical_p=torch.full((num_rows,), typical_p, dtype=torch.float64),
    )


def drawn(kernels: Kernels, logits: torch.Tensor, controls: Warping) -> list[int]:
    """Tokens drawn by numbers spread evenly over the unit interval, one a row."""
    numbers = (torch.arange(len(logits), dtype=torch.float64) + 0.5) / len(logits)
    return kernels.draw(logits.clone(), controls, numbers).tolist()


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("vocab_size", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_forbids_what_it_does_not_allow(
    kernels: Kernels, vocab_size: int, dtype: torch.dtype
) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (3, -(-vocab_size // 32) + 1), np.uint32)
    words[1], words[2] = 0xFFFFFFFF, 0
    logits = random_logits(3, vocab_size).to(dtype)
    expected = logits.clone()
    for row in range(3):
        for token_id in range(vocab_size):
            if not words[row, token_id // 32] >> token_id % 32 & 1:
                expected[row, token_id] = -INF
    kernels.apply_mask(logits, torch.from_numpy(words.view(np.int32)))
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("vocab_size", [1, 31, 32, 33, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_best_allowed_token_is_that_of_masked_logits(
    kernels: Kernels, vocab_size: int, dtype: torch.dtype
) -> None:
    numbers = np.random.default_rng(vocab_size)
    num_words = -(-vocab_size // 32) + 1
    words = numbers.integers(0, 2**32, (8, num_words), np.uint32)
    is_whole = numbers.random(words[:, ::2].shape) < 0.7
    words[:, ::2] = np.where(is_whole, 0xFFFFFFFF, 0)
    words[6], words[7] = 0xFFFFFFFF, 0
    packed = torch.from_numpy(words.view(np.int32))
    logits = random_logits(8, vocab_size).to(dtype)
    logits[5] = logits[5].round()  # equals
    masked = logits.clone()
    REFERENCE.apply_mask(masked, packed)
    has_any = masked.max(-1).values > -INF
    places = [11, 3, 9, 0, 4, 10, 7, 2]
    crowd = random_logits(12, vocab_size, seed=1).to(dtype)
    crowd[places] = logits
    likeliest = CPU.most_likely(crowd)
    before = Likeliest(*(part.clone() for part in likeliest))
    kernels.keep_allowed(likeliest, crowd, packed, places)
    token_ids, logprobs, normalisers = (part[places] for part in likeliest)
    assert torch.equal(token_ids[has_any], masked[has_any].argmax(-1))
    assert torch.equal(logprobs[has_any], (masked.max(-1).values.float() - normalisers)[has_any])
    assert logprobs.isnan().tolist() == (~has_any).tolist()
    assert torch.equal(likeliest.normalisers, before.normalisers)
    for part, part_before in zip(likeliest[:2], before[:2], strict=True):
        others = [1, 5, 6, 8]
        assert torch.equal(part[others], part_before[others])


@pytest.mark.parametrize("kernels", FORMS)
def test_nothing_is_the_best_of_a_row_with_nan(kernels: Kernels) -> None:
    logits = random_logits(2, 100)
    logits[1, 70] = float("nan")
    most = torch.full((2, 4), -1, dtype=torch.int32)
    most[:, 0] = -2
    likeliest = CPU.most_likely(logits)
    kernels.keep_allowed(likeliest, logits, most, [0, 1])
    assert likeliest.logprobs.isnan().tolist() == [False, True]
    assert likeliest.token_ids[0] == logits[0, 1:].argmax() + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_most_likely_token_and_its_logprob(dtype: torch.dtype) -> None:
    logits = random_logits(5, 1001).to(dtype)
    logits[1, [400, 700]] = 30.0
    logits[2, :500] = -INF
    logits[3, 7] = float("nan")
    logits[4] *= 50
    token_ids, logprobs, normalisers = CPU.most_likely(logits)
    expected_ids, expected_logprobs, expected_normalisers = REFERENCE.most_likely(logits)
    torch.testing.assert_close(logprobs, expected_logprobs, equal_nan=True)
    torch.testing.assert_close(normalisers, expected_normalisers, equal_nan=True)
    rows = [0, 1, 2, 4]
    assert token_ids[rows].tolist() == expected_ids[rows].tolist()
    assert token_ids[1] == 400
    highest = logits.float().gather(1, token_ids.unsqueeze(1)).squeeze(1)
    assert torch.equal(logprobs[rows], (highest - normalisers)[rows])


@pytest.mark.parametrize("kernels", FORMS)
def test_a_draw_inverts_the_cumulative_distribution(kernels: Kernels) -> None:
    logits = torch.tensor([[0.1, 0.0, 0.4, 0.5]]).log().expand(10, 4)
    assert drawn(kernels, logits, warping(10)) == [0, 2, 2, 2, 2, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("kernels", FORMS)
def test_the_ends_of_the_unit_interval_draw_possible_tokens(kernels: Kernels) -> None:
    logits = torch.tensor([[-INF, -200.0, 0.0, 0.3, -INF]]).repeat(2, 1)
    numbers = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    first, last = kernels.draw(logits, warping(2), numbers).tolist()
    assert first in (1, 2)
    assert last == 3


@pytest.mark.parametrize("kernels", FORMS)
def test_temperature_divides_the_logits(kernels: Kernels) -> None:
    logits = random_logits(1, 50).expand(200, 50)
    assert drawn(kernels, logits, warping(200, temperature=2.0)) == drawn(
        kernels, logits / 2, warping(200)
    )
    assert set(drawn(kernels, logits, warping(200, temperature=1e-3))) == {int(logits[0].argmax())}


@pytest.mark.parametrize("kernels", FORMS)
def test_top_k_keeps_k_tokens_and_those_equal_to_the_last(kernels: Kernels) -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, 0.0]]).expand(400, 5)
    assert set(drawn(kernels, logits, warping(400, top_k=1))) == {0}
    assert set(drawn(kernels, logits, warping(400, top_k=2))) == {0, 2, 3}
    assert set(drawn(kernels, logits, warping(400, top_k=4))) == {0, 1, 2, 3}


@pytest.mark.parametrize("kernels", FORMS)
def test_top_p_keeps_the_smallest_set_that_reaches_p(kernels: Kernels) -> None:
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log().expand(400, 4)
    assert set(drawn(kernels, logits, warping(400, top_p=0.4))) == {1}
    assert set(drawn(kernels, logits, warping(400, top_p=0.7))) == {1, 3}
    assert set(drawn(kernels, logits, warping(400, top_p=0.9))) == {0, 1, 3}


@pytest.mark.parametrize("kernels", FORMS)
def test_top_p_counts_what_top_k_left(kernels: Kernels) -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log().expand(400, 4)
    # Of the two that are left, the first has 4/7 of the mass.
    assert set(drawn(kernels, logits, warping(400, top_k=2, top_p=0.5))) == {0}
    assert set(drawn(kernels, logits, warping(400, top_k=2, top_p=0.6))) == {0, 1}


@pytest.mark.parametrize("kernels", FORMS)
def test_typical_p_prefers_tokens_of_typical_surprise(kernels: Kernels) -> None:
    probabilities = [0.6, 0.2, 0.1, 0.1]
    entropy = -sum(p * math.log(p) for p in probabilities)
    distances = [abs(-math.log(p) - entropy) for p in probabilities]
    assert min(distances) == distances[1]
    logits = torch.tensor([probabilities]).log().expand(400, 4)
    assert set(drawn(kernels, logits, warping(400, typical_p=0.15))) == {1}
    assert set(drawn(kernels, logits, warping(400, typical_p=0.5))) == {0, 1}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    vocab_size=st.sampled_from([3, 100, 3000]),
    temperature=st.floats(0.2, 3.0),
    top_k=st.integers(1, 400) | st.just(10**6),
    top_p=st.floats(0.05, 1.0),
    typical_p=st.floats(0.05, 1.0),
)
def test_the_cpu_form_draws_what_the_reference_draws(
    seed: int, vocab_size: int, temperature: float, top_k: int, top_p: float, typical_p: float
) -> None:
    logits = random_logits(1, vocab_size, seed)
    logits[0, ::7] = -INF
    controls = warping(16, temperature, top_k, top_p, typical_p)
    logits = logits.expand(16, vocab_size)
    expected = drawn(REFERENCE, logits, controls)
    # A number that falls on the border of two tokens may go either way by rounding.
    num_different = sum(
        one != other for one, other in zip(drawn(CPU, logits, controls), expected, strict=True)
    )
    assert num_different <= 1


@pytest.mark.parametrize("kernels", FORMS)
def test_a_row_without_a_distribution_harms_no_neighbour(kernels: Kernels) -> None:
    logits = random_logits(4, 100)
    controls = warping(4, top_k=20, top_p=0.8, typical_p=0.8)
    clean = drawn(kernels, logits, controls)
    logits[1, 5] = float("nan")
    logits[2] = -INF
    harmed = drawn(kernels, logits, controls)
    assert [harmed[0], harmed[3]] == [clean[0], clean[3]]
    assert all(0 <= token_id < 100 for token_id in harmed)
