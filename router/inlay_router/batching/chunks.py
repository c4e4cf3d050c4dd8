"""How far a step computes a prompt, and where a prompt may be cut."""

from collections.abc import Sequence as Places

from inlay_router.batching.sequence import Sequence
from inlay_router.request import ImagePlace


def chunk_size(sequence: Sequence, budget: int, *, has_whole_images: bool) -> int:
    """Tokens of the next chunk of a sequence: what is left of it, up to `budget`.

    has_whole_images: no chunk ends within an image. One that begins with an image is as long as
    the image then, whatever the budget, as long as there is any.
    """
    num_left = sequence.num_unscheduled
    if not budget or budget >= num_left or not has_whole_images:
        return min(budget, num_left)
    start = sequence.num_scheduled
    place = place_around(sequence.request.prompt.places, start + budget)
    if place is None:
        return budget
    return place.start - start if place.start > start else min(place.end - start, num_left)


def place_around(places: Places[ImagePlace], position: int) -> ImagePlace | None:
    """The image with tokens on both sides of `position`, if there is one."""
    for place in places:
        if place.start < position < place.end:
            return place
    return None
