"""Prompts come once and have their length; each answer gives one figure."""

import pytest

from inlay_bench.adapters.stream import Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.peers.options import PeerOptions, parse_options
from inlay_bench.peers.workload import Row, Words, batches, decode_rate, figure
from inlay_bench.vocabulary import build_tokenizer

WORDS = Words(build_tokenizer(20_400))
DECODE = Row(measure="decode", num_prompts=2, num_prompt_tokens=5, num_new_tokens=3)


def stream(*arrivals: float) -> Stream:
    """An answer whose tokens came at these times."""
    return Stream(list(range(len(arrivals))), list(arrivals))


def test_only_the_time_when_all_streams_decode_counts() -> None:
    early, late = stream(1.0, 2.0, 3.0, 4.0), stream(2.5, 3.0, 5.0)
    assert decode_rate([early, late]) == pytest.approx(3 / 1.5)


def test_streams_that_never_run_together_have_no_rate() -> None:
    with pytest.raises(BenchFailed, match="had ended before another one began"):
        decode_rate([stream(1.0, 2.0), stream(2.0, 3.0)])


def test_prefill_and_pictures_count_until_the_last_first_token() -> None:
    prefill = Row(measure="prefill", num_prompt_tokens=512)
    assert figure(prefill, [stream(0.5)]) == 1024
    assert figure(Row(measure="images", num_prompts=2), [stream(0.5), stream(1.0)]) == 2
    assert figure(Row(measure="repeated image"), [stream(0.05)]) == pytest.approx(50)


def test_a_short_answer_is_refused() -> None:
    with pytest.raises(BenchFailed, match=r"3 tokens were asked for, got \[3, 2\]"):
        figure(DECODE, [stream(1, 2, 3), stream(1, 2)])


def test_prompts_have_their_length_and_come_only_once() -> None:
    (first,), (second,) = batches(DECODE, WORDS, "one"), batches(DECODE, WORDS, "two")
    prompts = [*first, *second]
    assert all(len(prompt.token_ids) == 5 for prompt in prompts)
    assert len({prompt.text for prompt in prompts}) == 4
    assert batches(DECODE, WORDS, "one") == [first]


def test_a_repeated_picture_comes_first_with_another_question() -> None:
    (first,), (second,) = batches(Row(measure="repeated image"), WORDS, "seed")
    assert first.picture == second.picture is not None
    assert first.text != second.text


def test_rows_are_named_and_their_units_known() -> None:
    names = [str(row) for row in PeerOptions(stream_counts=(1, 8)).rows("text")]
    assert names == [
        "decode, 1 stream",
        "decode, 8 streams",
        "prefill, 512 tokens",
        "prefill, 2048 tokens",
    ]
    units = [(row.unit, row.is_more_better) for row in PeerOptions().rows("image")]
    assert units == [("images/s", True), ("ms", False), ("ms", False)]


def test_the_time_is_divided_among_the_models_that_are_measured() -> None:
    options = parse_options(["--minutes", "4", "--models", "smol,smolvlm"])
    assert options.seconds("smol") + options.seconds("smolvlm") == pytest.approx(240)


def test_the_cache_holds_the_largest_row_twice() -> None:
    options = PeerOptions(stream_counts=(4,), prefill_lengths=(16,), num_context_tokens=52)
    assert options.num_cache_tokens == 2 * 4 * (52 + 48)
