"""Medians, ratios round by round, and what counts as an equal answer."""

import pytest

from inlay_bench.batch import Batch, BenchFailed, count_equal
from inlay_bench.figures import Case, Figure, Round, less_is_better, more_is_better, summarize
from inlay_bench.floor import MachineSpeed

SPEED = MachineSpeed(bytes_per_second=10e9, flops_per_second=100e9)
CASE = Case(dtype="float32", kind="text", num_streams=2)


def batch(first: float = 1.0, last: float = 3.0, text: str = "ab") -> Batch:
    """Two streams of three tokens; the second stream is half a second later."""
    return Batch(
        first_token_seconds=(first, first + 0.5),
        last_token_seconds=(last, last + 0.5),
        token_ids=((1, 2, 3), (4, 5, 6)),
        texts=("same", text),
    )


def test_a_batch_knows_its_rates() -> None:
    assert batch().seconds == 3.5
    assert batch().tokens_per_second == pytest.approx(6 / 3.5)
    assert batch().first_token_milliseconds == 1250
    assert batch().token_milliseconds == 1000


def test_a_batch_with_other_lengths_is_no_measurement() -> None:
    batch().check(num_streams=2, num_new_tokens=3)
    with pytest.raises(BenchFailed, match=r"2 streams of 4 tokens .* got \[3, 3\]"):
        batch().check(num_streams=2, num_new_tokens=4)
    with pytest.raises(BenchFailed):
        batch().check(num_streams=3, num_new_tokens=3)


def test_ratios_are_taken_within_rounds_and_point_the_same_way() -> None:
    rate = more_is_better([20.0, 10.0, 30.0], [10.0, 10.0, 10.0])
    assert rate.inlay == Figure(median=20, low=10, high=30)
    assert rate.ratio == Figure(median=2, low=1, high=3)
    time = less_is_better([1.0, 4.0, 2.0], [2.0, 2.0, 2.0])
    assert time.ratio == Figure(median=1, low=0.5, high=2)


def test_an_answer_is_equal_when_tokens_and_text_are() -> None:
    assert count_equal(batch(), batch()) == 2
    assert count_equal(batch(), batch(text="other")) == 1
    assert count_equal(batch(), batch(text="ab\ufffd")) == 2, "its last character is incomplete"


def test_a_case_is_summarized_with_its_floors() -> None:
    rounds = [
        Round(inlay=batch(), generate=batch(last=10.0), client_seconds=0.07),
        Round(inlay=batch(), generate=batch(text="other"), client_seconds=0.07),
    ]
    figures = summarize(CASE, rounds, SPEED, num_weights=10_000_000, weight_bytes=4)
    assert figures.tokens_per_second.ratio == Figure(median=2, low=1, high=3)
    assert figures.read_floor_milliseconds == pytest.approx(4)
    assert figures.multiply_floor_milliseconds == pytest.approx(0.4)
    assert figures.client_share == pytest.approx(0.02)
    assert (figures.num_equal, figures.num_compared) == (3, 4)
