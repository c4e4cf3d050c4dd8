"""Keys of blocks: equal exactly when all is equal that the K and V in a block depend on."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from inlay_router.batching.block_keys import KEY_BYTES, extend_keys, placed_images
from inlay_router.request import ImagePlace

BLOCK_SIZE = 4
PLACEHOLDER = 3


def keys_of(token_ids: list[int], *places: ImagePlace, block_size: int = BLOCK_SIZE) -> list[bytes]:
    ids = array("I", token_ids)
    keys: list[bytes] = []
    num_blocks = len(token_ids) // block_size
    images = placed_images(ids, places)
    extend_keys(keys, ids, images, num_blocks=num_blocks, block_size=block_size)
    return keys


def num_shared(one: list[bytes], other: list[bytes]) -> int:
    """Blocks of one that could be found for the other."""
    equal = [a == b for a, b in zip(one, other, strict=False)]
    return equal.index(False) if False in equal else len(equal)


@st.composite
def prompts(draw: st.DrawFn) -> tuple[list[int], list[ImagePlace]]:
    """Few tokens and few images, so that prompts often begin alike."""
    token_ids: list[int] = []
    places: list[ImagePlace] = []
    for _ in range(draw(st.integers(1, 4))):
        token_ids += draw(st.lists(st.integers(0, 1), max_size=5))
        if draw(st.booleans()):
            length = draw(st.integers(1, 6))
            digest = draw(st.sampled_from([b"cat" * 10, b"dog" * 10]))
            end = len(token_ids) + length
            places.append(ImagePlace(start=len(token_ids), end=end, digest=digest))
            token_ids += [PLACEHOLDER] * length
    return token_ids, places


def seen(token_ids: list[int], places: list[ImagePlace], end: int) -> object:
    """What K and V of the first `end` tokens depend on, if images are seen as a whole."""
    images = [place for place in places if place.start < end]
    return token_ids[:end], images


@given(prompts(), prompts())
def test_blocks_are_shared_exactly_when_their_content_is_the_same(
    one: tuple[list[int], list[ImagePlace]], other: tuple[list[int], list[ImagePlace]]
) -> None:
    shared = num_shared(keys_of(one[0], *one[1]), keys_of(other[0], *other[1]))
    num_blocks = min(len(one[0]), len(other[0])) // BLOCK_SIZE
    ends = [count * BLOCK_SIZE for count in range(1, num_blocks + 1)]
    assert [seen(*one, end) == seen(*other, end) for end in ends] == [
        index < shared for index in range(num_blocks)
    ]


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 6), st.integers(1, 12))
def test_two_images_never_share_a_block(cat: bytes, dog: bytes, start: int, length: int) -> None:
    """Nor a block behind them, although all tokens are the same."""
    token_ids = [0] * start + [PLACEHOLDER] * length + [0] * 9
    of_cat, of_dog = (
        keys_of(token_ids, ImagePlace(start=start, end=start + length, digest=digest))
        for digest in (cat, dog)
    )
    num_before = start // BLOCK_SIZE
    assert of_cat[:num_before] == of_dog[:num_before]
    if cat != dog:
        assert not set(of_cat[num_before:]) & set(of_dog[num_before:])
    else:
        assert of_cat == of_dog


def test_an_image_is_not_the_same_as_its_placeholders_without_it() -> None:
    token_ids = [PLACEHOLDER] * 4
    assert keys_of(token_ids) != keys_of(token_ids, ImagePlace(start=0, end=4, digest=b""))


def test_an_image_that_stands_elsewhere_in_a_block_is_another_block() -> None:
    token_ids = [PLACEHOLDER] * 8
    early, late = (
        keys_of(token_ids, ImagePlace(start=start, end=8, digest=b"cat")) for start in (1, 2)
    )
    assert not set(early) & set(late)


def test_the_end_of_an_image_is_in_the_key_of_its_first_block() -> None:
    """Where tokens of an image see each other both ways, the first depend on the last."""
    place = ImagePlace(start=0, end=8, digest=b"cat")
    one, other = keys_of([PLACEHOLDER] * 7 + [1], place), keys_of([PLACEHOLDER] * 7 + [2], place)
    assert one[0] != other[0]


def test_keys_are_the_same_whether_made_at_once_or_one_by_one() -> None:
    token_ids = array("I", range(40))
    images = placed_images(token_ids, [ImagePlace(start=6, end=21, digest=b"cat")])
    at_once: list[bytes] = []
    extend_keys(at_once, token_ids, images, num_blocks=10, block_size=4)
    one_by_one: list[bytes] = []
    for count in range(1, 11):
        extend_keys(one_by_one, token_ids, images, num_blocks=count, block_size=4)
    assert at_once == one_by_one
    assert {len(key) for key in at_once} == {KEY_BYTES}
    assert len(set(at_once)) == 10


def test_the_same_block_behind_another_one_has_another_key() -> None:
    one, other = keys_of([1] * 4 + [2] * 4), keys_of([3] * 4 + [2] * 4)
    assert not set(one) & set(other)
