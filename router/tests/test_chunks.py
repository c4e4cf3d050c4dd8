"""Where a prompt may be cut."""

import pytest

from inlay_router.batching.chunks import chunk_size, place_around
from inlay_router.batching.sequence import Sequence
from inlay_router.request import GenerationRequest, ImagePlace, Prompt

PLACES = (ImagePlace(start=4, end=10), ImagePlace(start=10, end=14))


def a_sequence(num_scheduled: int = 0) -> Sequence:
    """Twenty tokens, with images at [4, 10) and [10, 14)."""
    prompt = Prompt(token_ids=tuple(range(20)), places=PLACES)
    sequence = Sequence.of(GenerationRequest(prompt=prompt, max_new_tokens=5))
    sequence.num_scheduled = num_scheduled
    return sequence


def test_an_image_may_be_cut_anywhere_by_default() -> None:
    assert chunk_size(a_sequence(), 7, has_whole_images=False) == 7
    assert chunk_size(a_sequence(), 50, has_whole_images=False) == 20
    assert chunk_size(a_sequence(), 0, has_whole_images=False) == 0


@pytest.mark.parametrize(
    ("start", "budget", "num_tokens"),
    [
        (0, 3, 3),
        (0, 4, 4),
        (0, 7, 4),
        (0, 10, 10),
        (0, 12, 10),
        (4, 1, 6),
        (4, 6, 6),
        (10, 1, 4),
        (14, 2, 2),
        (14, 99, 6),
        (4, 0, 0),
    ],
)
def test_an_image_is_computed_in_one_chunk(start: int, budget: int, num_tokens: int) -> None:
    """The chunk ends before the image, or goes beyond its budget if it begins with one."""
    assert chunk_size(a_sequence(start), budget, has_whole_images=True) == num_tokens


def test_the_edges_of_an_image_are_not_within_it() -> None:
    assert [place_around(PLACES, position) for position in (0, 4, 10, 14)] == [None] * 4
    assert place_around(PLACES, 5) is place_around(PLACES, 9) is PLACES[0]
    assert place_around(PLACES, 11) is PLACES[1]
