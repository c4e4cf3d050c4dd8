"""How much prefill a step may have beside decode rows, after steps of known lengths."""

from hypothesis import given
from hypothesis import strategies as st

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.pace import (
    FIRST_REACH,
    MIN_PREFILL_TOKENS,
    NUM_STEADY_TOKENS,
    NUM_STEPS_TRUSTED,
    PREFILL_SHARE,
    Pace,
    default_prefill_tokens,
    is_burst,
    step_seconds,
)
from inlay_router.batching.sequence import Sequence
from inlay_router.request import GenerationRequest, Prompt


def taught(
    pace: Pace, *, decode_seconds: float, token_seconds: float, num_decoding: int = 4
) -> Pace:
    """A pace that has seen enough of both."""
    for num_tokens in (64, 128, 256, 512):
        pace.note(num_decoding=num_decoding, num_prefill_tokens=0, seconds=decode_seconds)
        seconds = decode_seconds + num_tokens * token_seconds
        pace.note(num_decoding=num_decoding, num_prefill_tokens=num_tokens, seconds=seconds)
    return pace


def test_without_running_streams_only_the_limit_holds() -> None:
    pace = taught(Pace(512), decode_seconds=0.02, token_seconds=0.001)
    assert pace.num_prefill_tokens(0) == 512


def test_while_nothing_is_known_chunks_are_small() -> None:
    assert Pace(512).num_prefill_tokens(3) == FIRST_REACH
    assert Pace(5).num_prefill_tokens(3) == 5


def test_a_step_takes_a_fixed_multiple_of_a_decode_step() -> None:
    decode_seconds, token_seconds = 0.1, 0.001
    pace = taught(Pace(512), decode_seconds=decode_seconds, token_seconds=token_seconds)
    step = decode_seconds + pace.num_prefill_tokens(4) * token_seconds
    assert abs(step * (1 - PREFILL_SHARE) - decode_seconds) < token_seconds


def test_prefill_goes_on_however_dear_it_is() -> None:
    pace = taught(Pace(512), decode_seconds=0.001, token_seconds=1.0)
    assert pace.num_prefill_tokens(4) == MIN_PREFILL_TOKENS


def test_what_costs_nothing_is_bounded_by_the_limit_and_grows_step_by_step() -> None:
    pace = Pace(4096)
    pace.note(num_decoding=4, num_prefill_tokens=0, seconds=0.01)
    sizes: list[int] = []
    for _ in range(8):
        pace.note(num_decoding=4, num_prefill_tokens=sizes[-1] if sizes else 64, seconds=0.01)
        sizes.append(pace.num_prefill_tokens(4))
    assert sizes == [128, 256, 512, 1024, 2048, 4096, 4096, 4096]


def test_a_batch_of_a_size_that_was_never_seen_is_seen_alone_first() -> None:
    pace = taught(Pace(512), decode_seconds=0.1, token_seconds=0.001)
    assert pace.num_prefill_tokens(32) == 0
    pace.note(num_decoding=32, num_prefill_tokens=0, seconds=0.2)
    assert pace.num_prefill_tokens(32) > pace.num_prefill_tokens(4) > 0


def test_now_and_then_decode_rows_are_seen_alone_again() -> None:
    pace = taught(Pace(512), decode_seconds=0.1, token_seconds=0.001)
    sizes = [pace.num_prefill_tokens(4) for _ in range(NUM_STEPS_TRUSTED + 2)]
    assert sizes.index(0) == NUM_STEPS_TRUSTED
    assert sizes.count(0) == 1


def test_one_slow_step_does_not_make_room_for_long() -> None:
    """Such as the first, in which kernels are compiled."""
    pace = Pace(512)
    pace.note(num_decoding=4, num_prefill_tokens=0, seconds=5.0)
    taught(pace, decode_seconds=0.1, token_seconds=0.001)
    assert pace.num_prefill_tokens(4) <= 125


def test_steps_without_timings_teach_nothing() -> None:
    pace = Pace(512)
    for _ in range(10):
        pace.note(num_decoding=2, num_prefill_tokens=0, seconds=0.0)
        pace.note(num_decoding=2, num_prefill_tokens=64, seconds=0.0)
    assert pace.num_prefill_tokens(2) == FIRST_REACH


@given(
    st.integers(1, 512),
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 512), st.floats(0, 10, allow_nan=False)),
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_whatever_was_seen_prefill_is_never_withheld_for_long(
    limit: int, steps: list[tuple[int, int, float]], num_decoding: int
) -> None:
    pace = Pace(limit)
    for decoding, prefill, seconds in steps:
        pace.note(num_decoding=decoding, num_prefill_tokens=prefill, seconds=seconds)
    sizes = [pace.num_prefill_tokens(num_decoding) for _ in range(60)]
    assert all(0 <= size <= limit for size in sizes)
    assert sizes.count(0) <= 4
    assert all(size >= min(MIN_PREFILL_TOKENS, limit) for size in sizes if size)


def test_embedding_images_is_not_counted() -> None:
    timings = pb.StepTimings(
        encode=9_000_000_000, forward=2_000_000, mask=1_000_000, sample=500_000
    )
    assert step_seconds(timings) == 0.0035
    timings = pb.StepTimings(schedule=1_000_000, transfer=2_000_000, deliver=4_000_000)
    assert step_seconds(timings) == 0.007


def test_a_gpu_takes_larger_steps() -> None:
    assert default_prefill_tokens("cpu") < default_prefill_tokens("cuda:0")


def test_streams_that_came_with_a_prompt_bear_more_than_those_that_ran_before() -> None:
    pace = taught(Pace(512), decode_seconds=0.1, token_seconds=0.001)
    assert pace.num_prefill_tokens(4, is_burst=True) > 3 * pace.num_prefill_tokens(4)


def a_sequence(num_answer_tokens: int, *, arrival_step: int = 0) -> Sequence:
    request = GenerationRequest(prompt=Prompt(token_ids=(1, 2)), max_new_tokens=500)
    sequence = Sequence.of(request)
    sequence.token_ids.extend([9] * num_answer_tokens)
    sequence.arrival_step = arrival_step
    return sequence


def test_a_burst_is_who_comes_before_the_oldest_stream_has_run_for_a_while() -> None:
    """The stream has a token of each of the last forty of a hundred steps."""
    stream, young = a_sequence(40), a_sequence(3)
    early, late = (
        a_sequence(0, arrival_step=60 + num_tokens)
        for num_tokens in (NUM_STEADY_TOKENS - 1, NUM_STEADY_TOKENS)
    )
    assert is_burst([stream, young], early, num_steps=100)
    assert not is_burst([stream, young], late, num_steps=100)


def test_without_streams_or_without_prompts_there_is_no_burst() -> None:
    assert not is_burst([], a_sequence(0), num_steps=5)
    assert not is_burst([a_sequence(1)], None, num_steps=5)
