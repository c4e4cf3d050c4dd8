"""The sampler: order of its steps, and a row that never depends on its neighbours."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import inlay_kernels
from inlay_proto import generate_pb2 as pb
from inlay_shard.sampling.controls import SamplingRow
from inlay_shard.sampling.penalties import PenaltyState
from inlay_shard.sampling.sampler import Choice, RowMasks, Sampler

VOCAB_SIZE = 97
SAMPLER = Sampler(VOCAB_SIZE, "cpu", inlay_kernels.select("cpu"))


def random_logits(num_rows: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(num_rows, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed))


def row(
    sampling: pb.Sampling | None = None,
    prompt_ids: tuple[int, ...] = (1, 2),
    output_ids: tuple[int, ...] = (),
    top_n_tokens: int = 0,
) -> SamplingRow:
    return SamplingRow(
        sampling=sampling or pb.Sampling(),
        prompt_ids=prompt_ids,
        output_ids=output_ids,
        top_n_tokens=top_n_tokens,
    )


def packed(*allowed: set[int]) -> torch.Tensor:
    """Packed masks that allow these tokens."""
    words = np.zeros((len(allowed), -(-VOCAB_SIZE // 32)), np.uint32)
    for words_of_row, token_ids in zip(words, allowed, strict=True):
        for token_id in token_ids:
            words_of_row[token_id // 32] |= np.uint32(1 << token_id % 32)
    return torch.from_numpy(words.view(np.int32))


def only(choice: Choice) -> int:
    (token_id,) = choice.token_ids.tolist()
    return int(token_id)


def optional(values: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    return st.none() | values


def sampling_of(logit_bias: dict[int, float], **controls: Any) -> pb.Sampling:
    return pb.Sampling(
        biased_token_ids=list(logit_bias), token_biases=list(logit_bias.values()), **controls
    )


Samplings = st.builds(
    sampling_of,
    logit_bias=st.dictionaries(st.integers(0, VOCAB_SIZE - 1), st.floats(-9, 9), max_size=3),
    do_sample=st.booleans(),
    temperature=optional(st.floats(0.1, 5.0)),
    top_k=st.none() | st.integers(1, 200),
    top_p=optional(st.floats(0.05, 0.95)),
    typical_p=optional(st.floats(0.05, 0.95)),
    repetition_penalty=optional(st.floats(0.5, 2.0)),
    frequency_penalty=optional(st.floats(-2.0, 2.0)),
    presence_penalty=optional(st.floats(-2.0, 2.0)),
    seed=st.integers(0, 2**64 - 1),
    watermark=st.booleans(),
)
TokenIds = st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=10)
Rows = st.builds(
    SamplingRow,
    sampling=Samplings,
    prompt_ids=TokenIds,
    output_ids=TokenIds,
    top_n_tokens=st.integers(0, 5),
)
Allowed = st.sets(st.integers(0, VOCAB_SIZE - 1), min_size=1)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(Rows, min_size=1, max_size=6), allowed=Allowed, seed=st.integers(0, 999))
def test_a_row_chooses_the_same_alone_and_in_a_crowd(
    rows: list[SamplingRow], allowed: set[int], seed: int
) -> None:
    logits = random_logits(len(rows), seed)
    crowd = SAMPLER.choose(logits, rows, RowMasks(row_indices=[0], packed=packed(allowed)))
    for index, one in enumerate(rows):
        masks = RowMasks(row_indices=[0], packed=packed(allowed)) if index == 0 else None
        alone = SAMPLER.choose(logits[index : index + 1], [one], masks)
        assert only(alone) == crowd.token_ids[index]
        assert alone.logprobs[0] == crowd.logprobs[index]
        num_top = one.top_n_tokens
        if num_top:
            assert alone.top_token_ids is not None and crowd.top_token_ids is not None
            assert alone.top_logprobs is not None and crowd.top_logprobs is not None
            assert torch.equal(alone.top_token_ids[0], crowd.top_token_ids[index, :num_top])
            assert torch.equal(alone.top_logprobs[0], crowd.top_logprobs[index, :num_top])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_known_of_logits_already_changes_nothing(dtype: torch.dtype) -> None:
    """Rows with and without masks, some of them steered, and tokens that were forced."""
    logits = random_logits(6).to(dtype)
    drawn = pb.Sampling(do_sample=True, seed=3)
    rows = [row(), row(), row(drawn), row(), row(drawn), row(pb.Sampling(repetition_penalty=1.5))]
    masks = RowMasks(
        row_indices=[0, 2, 3, 5],
        packed=packed({int(logits[0].argmax()), 1}, {4, 5}, {7, 8}, {9}),
    )
    kernels = inlay_kernels.select("cpu")
    anew = SAMPLER.choose(logits, rows, masks)
    known = SAMPLER.choose(logits, rows, masks, kernels.most_likely(logits))
    assert torch.equal(anew.token_ids, known.token_ids)
    assert torch.equal(anew.logprobs, known.logprobs)
    expected = logits.float().log_softmax(-1).gather(1, known.token_ids.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(known.logprobs, expected)
    assert int(known.token_ids[0]) == int(logits[0].argmax())
    assert int(known.token_ids[3]) in (7, 8)
    forced = [
        SAMPLER.rate(logits, list(range(6)), rows, likeliest).logprobs
        for likeliest in (None, kernels.most_likely(logits))
    ]
    assert torch.equal(*forced)


@settings(max_examples=40, deadline=None)
@given(one=Rows, allowed=Allowed, seed=st.integers(0, 999))
def test_a_masked_token_is_never_chosen(one: SamplingRow, allowed: set[int], seed: int) -> None:
    masks = RowMasks(row_indices=[0], packed=packed(allowed))
    choice = SAMPLER.choose(random_logits(1, seed), [one], masks)
    assert only(choice) in allowed
    assert torch.isfinite(choice.logprobs).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), temperature=st.floats(0.1, 5.0))
def test_top_k_of_one_is_greedy(seed: int, temperature: float) -> None:
    sampling = pb.Sampling(do_sample=True, seed=seed, top_k=1, temperature=temperature)
    logits = random_logits(1)
    assert only(SAMPLER.choose(logits, [row(sampling)])) == int(logits.argmax())


def test_greedy_takes_the_first_of_equal_logits() -> None:
    logits = torch.zeros(1, VOCAB_SIZE)
    logits[0, [40, 41]] = 2.0
    choice = SAMPLER.choose(logits, [row(top_n_tokens=3)])
    assert only(choice) == 40
    assert choice.top_token_ids is not None
    assert choice.top_token_ids.tolist() == [[40, 41, 0]]


def test_logprobs_are_those_of_the_raw_model() -> None:
    logits = random_logits(2)
    expected = logits.log_softmax(-1)
    steered = pb.Sampling(
        do_sample=True, seed=1, temperature=3.0, repetition_penalty=1.8, watermark=True
    )
    rows = [row(steered, top_n_tokens=2), row(top_n_tokens=4)]
    allowed = {5, 6}
    choice = SAMPLER.choose(logits, rows, RowMasks(row_indices=[0], packed=packed(allowed)))
    assert int(choice.token_ids[0]) in allowed
    torch.testing.assert_close(
        choice.logprobs, expected.gather(1, choice.token_ids.unsqueeze(1)).squeeze(1)
    )
    assert choice.top_logprobs is not None
    torch.testing.assert_close(choice.top_logprobs[1], expected[1].topk(4).values)
    torch.testing.assert_close(choice.top_logprobs[0, :2], expected[0].topk(2).values)


def test_logits_are_left_as_they_were() -> None:
    logits = random_logits(1)
    before = logits.clone()
    sampling = pb.Sampling(do_sample=True, top_k=3, repetition_penalty=1.5, watermark=True)
    SAMPLER.choose(logits, [row(sampling)], RowMasks(row_indices=[0], packed=packed({3, 4})))
    assert torch.equal(logits, before)


def test_low_precision_logits_are_taken() -> None:
    logits = random_logits(1).bfloat16()
    choice = SAMPLER.choose(logits, [row()])
    assert choice.logprobs.dtype == torch.float32
    torch.testing.assert_close(
        choice.logprobs, logits.float().log_softmax(-1).max(-1).values, check_dtype=True
    )


def test_greedy_rows_heed_penalties() -> None:
    logits = torch.zeros(1, VOCAB_SIZE)
    logits[0, [10, 20]] = torch.tensor([3.0, 2.0])
    repeated = pb.Sampling(repetition_penalty=2.0)
    assert only(SAMPLER.choose(logits, [row(repeated, prompt_ids=(10,))])) == 20
    frequent = pb.Sampling(frequency_penalty=0.6)
    assert only(SAMPLER.choose(logits, [row(frequent, output_ids=(10,))])) == 10
    assert only(SAMPLER.choose(logits, [row(frequent, output_ids=(10, 10))])) == 20


def test_frequency_penalty_spares_the_prompt() -> None:
    logits = torch.zeros(1, VOCAB_SIZE)
    logits[0, 10] = 0.5
    frequent = pb.Sampling(frequency_penalty=2.0)
    assert only(SAMPLER.choose(logits, [row(frequent, prompt_ids=(10, 10))])) == 10


def test_presence_penalty_counts_once() -> None:
    logits = torch.zeros(1, VOCAB_SIZE)
    logits[0, [10, 20]] = torch.tensor([3.0, 2.0])
    present = pb.Sampling(presence_penalty=0.6)
    assert only(SAMPLER.choose(logits, [row(present, output_ids=(10,) * 5)])) == 10
    present = pb.Sampling(presence_penalty=1.2)
    assert only(SAMPLER.choose(logits, [row(present, output_ids=(10,))])) == 20
    assert only(SAMPLER.choose(logits, [row(present, prompt_ids=(10,))])) == 10


def test_a_bias_makes_and_forbids_choices_of_its_row_alone() -> None:
    logits = torch.zeros(3, VOCAB_SIZE)
    logits[:, 10] = 1.0
    made, forbidden = sampling_of({33: 100.0}), sampling_of({10: -100.0, 7: 0.5})
    choice = SAMPLER.choose(logits, [row(made), row(), row(forbidden)])
    assert choice.token_ids.tolist() == [33, 10, 7]


def test_a_bias_cannot_break_a_grammar() -> None:
    masks = RowMasks(row_indices=[0], packed=packed({4, 5}))
    biased = sampling_of({33: 100.0, 5: 1.0})
    assert only(SAMPLER.choose(random_logits(1) * 0, [row(biased)], masks)) == 5


def test_a_penalty_state_is_carried_from_step_to_step() -> None:
    state = PenaltyState()
    sampling = pb.Sampling(do_sample=True, seed=4, frequency_penalty=1.0)
    answer: list[int] = []
    for step in range(12):
        logits = random_logits(1, step)
        carried = SamplingRow(sampling=sampling, prompt_ids=[1], output_ids=answer, penalties=state)
        anew = SamplingRow(sampling=sampling, prompt_ids=[1], output_ids=answer)
        token_id = only(SAMPLER.choose(logits, [carried]))
        assert token_id == only(SAMPLER.choose(logits, [anew]))
        answer.append(token_id)


def test_the_position_and_the_seed_move_the_draw() -> None:
    logits = torch.zeros(40, VOCAB_SIZE)
    by_position = [
        row(pb.Sampling(do_sample=True, seed=9), output_ids=(1,) * place) for place in range(40)
    ]
    by_seed = [row(pb.Sampling(do_sample=True, seed=seed)) for seed in range(40)]
    assert len(set(SAMPLER.choose(logits, by_position).token_ids.tolist())) > 20
    assert len(set(SAMPLER.choose(logits, by_seed).token_ids.tolist())) > 20


def test_many_draws_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.4, 0.3, 0.2, 0.1])
    logits = torch.full((2000, VOCAB_SIZE), float("-inf"))
    logits[:, 10:14] = probabilities.log()
    rows = [row(pb.Sampling(do_sample=True, seed=seed)) for seed in range(2000)]
    drawn = SAMPLER.choose(logits, rows).token_ids
    counts = torch.bincount(drawn, minlength=VOCAB_SIZE)[10:14]
    assert int(counts.sum()) == 2000
    expected = 2000 * probabilities
    # Chi-square with 3 degrees of freedom: above 16.3 once in a thousand seeds.
    assert float(((counts - expected) ** 2 / expected).sum()) < 16.3


def test_a_row_without_a_choice_says_so_and_harms_no_neighbour() -> None:
    logits = random_logits(4)
    logits[1] = float("nan")
    sampled = pb.Sampling(do_sample=True, seed=1, top_p=0.5, typical_p=0.5, top_k=4)
    rows = [row(), row(sampled), row(sampled), row(sampled)]
    masks = RowMasks(row_indices=[2], packed=packed(set()))
    choice = SAMPLER.choose(logits, rows, masks)
    assert choice.logprobs.isnan().tolist() == [False, True, True, False]
    assert bool((choice.token_ids < VOCAB_SIZE).all())
    alone = SAMPLER.choose(logits[3:], [row(sampled)])
    assert only(alone) == choice.token_ids[3]


def test_warming_up_leaves_choices_as_they_were() -> None:
    logits = random_logits(1)
    before = SAMPLER.choose(logits, [row()])
    SAMPLER.warm_up(torch.bfloat16)
    assert torch.equal(SAMPLER.choose(logits, [row()]).logprobs, before.logprobs)
