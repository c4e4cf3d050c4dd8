"""Penalties, held against a token-by-token recount of the whole sequence."""

from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay_shard.sampling.penalties import PenaltyState, add_biases, penalise

VOCAB_SIZE = 40
TokenIds = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=30)


def state_of(prompt_ids: list[int], output_ids: list[int]) -> PenaltyState:
    state = PenaltyState()
    state.read(prompt_ids, output_ids)
    return state


def penalised(
    logits: torch.Tensor,
    prompt_ids: list[int],
    output_ids: list[int],
    rep: float,
    freq: float,
    presence: float,
) -> torch.Tensor:
    """The definition, one token at a time."""
    expected = logits.clone()
    for token_id in {*prompt_ids, *output_ids}:
        value = expected[token_id]
        expected[token_id] = value / rep if value > 0 else value * rep
    for token_id, count in Counter(output_ids).items():
        expected[token_id] -= freq * count + presence
    return expected


@settings(max_examples=40, deadline=None)
@given(
    prompt_ids=TokenIds,
    output_ids=TokenIds,
    rep=st.floats(0.5, 2.0),
    freq=st.floats(-2.0, 2.0),
    presence=st.floats(-2.0, 2.0),
    seed=st.integers(0, 1000),
)
def test_penalties_equal_their_definition(
    prompt_ids: list[int],
    output_ids: list[int],
    rep: float,
    freq: float,
    presence: float,
    seed: int,
) -> None:
    logits = torch.randn(2, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed))
    expected = torch.stack(
        [
            penalised(logits[0], prompt_ids, output_ids, rep, freq, presence),
            penalised(logits[1], output_ids, prompt_ids, 1.0, -freq, 0.0),
        ]
    )
    states = [state_of(prompt_ids, output_ids), state_of(output_ids, prompt_ids)]
    penalise(logits, states, [rep, 1.0], [freq, -freq], [presence, 0.0])
    torch.testing.assert_close(logits, expected)


@settings(max_examples=25, deadline=None)
@given(prompt_ids=TokenIds, output_ids=TokenIds)
def test_reading_token_by_token_equals_reading_at_once(
    prompt_ids: list[int], output_ids: list[int]
) -> None:
    grown = PenaltyState()
    for length in range(len(output_ids) + 1):
        grown.read(prompt_ids, output_ids[:length])
    at_once = state_of(prompt_ids, output_ids)
    np.testing.assert_array_equal(grown.token_ids, at_once.token_ids)
    np.testing.assert_array_equal(grown.counts, at_once.counts)


def test_the_arrays_outgrow_their_first_size() -> None:
    state = state_of(list(range(100)), list(range(50, 1000)) * 2)
    assert repr(state) == "PenaltyState(num_distinct=1000, num_outputs=1900)"
    assert dict(zip(state.token_ids.tolist(), state.counts.tolist(), strict=True)) == {
        token_id: 0.0 if token_id < 50 else 2.0 for token_id in range(1000)
    }


def test_an_empty_sequence_is_not_penalised() -> None:
    logits = torch.ones(1, 3)
    penalise(logits, [PenaltyState()], [2.0], [2.0], [2.0])
    assert logits.tolist() == [[1.0, 1.0, 1.0]]


Biases = st.dictionaries(st.integers(0, VOCAB_SIZE - 1), st.floats(-100, 100), max_size=5)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(Biases, min_size=1, max_size=4))
def test_each_row_gets_its_own_biases(rows: list[dict[int, float]]) -> None:
    logits = torch.randn(len(rows), VOCAB_SIZE, generator=torch.Generator().manual_seed(0))
    expected = logits.clone()
    for index, biases in enumerate(rows):
        for token_id, bias in biases.items():
            expected[index, token_id] += bias
    add_biases(logits, [list(row) for row in rows], [list(row.values()) for row in rows])
    torch.testing.assert_close(logits, expected)
