"""Stop sequences against a search of the whole answer."""

from hypothesis import given, settings
from hypothesis import strategies as st

from inlay_router.text.stop import StopMatcher


def cut(stops: list[str], pieces: list[str]) -> str:
    """The answer as the matcher leaves it."""
    matcher, answer = StopMatcher(stops), ""
    for piece in pieces:
        num_kept = matcher.feed(piece)
        if num_kept is not None:
            return answer + piece[:num_kept]
        answer += piece
    return answer


def test_a_stop_sequence_inside_a_token_cuts_the_token_behind_it() -> None:
    assert cut(["\n\n"], ["one", ".\n\nTwo", "three"]) == "one.\n\n"


def test_a_stop_sequence_across_tokens_is_found() -> None:
    assert cut(["END"], ["the E", "N", "D of it"]) == "the END"


def test_the_first_end_wins_even_if_another_began_earlier() -> None:
    assert cut(["abcdef", "cd"], ["abcdefgh"]) == "abcd"


def test_without_stop_sequences_nothing_is_cut() -> None:
    assert cut([], ["a", "b"]) == "ab"


def test_a_stop_sequence_longer_than_the_answer_is_harmless() -> None:
    assert cut(["x" * 100_000], ["x"] * 50) == "x" * 50


@settings(deadline=None)
@given(data=st.data(), pieces=st.lists(st.text("ab", max_size=3), min_size=1, max_size=20))
def test_it_equals_a_search_of_the_whole_answer(data: st.DataObject, pieces: list[str]) -> None:
    whole = "".join(pieces)
    at = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(1, 10))
    others = data.draw(st.lists(st.text("ab", min_size=1, max_size=8), max_size=3))
    stops = [stop for stop in (whole[at : at + length], *others) if stop]
    ends = [whole.find(stop) + len(stop) for stop in stops if stop in whole]
    assert cut(stops, pieces) == whole[: min(ends, default=len(whole))]
