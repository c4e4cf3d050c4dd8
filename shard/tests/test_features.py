"""Features of images: where they stand, how positions go on, and what is forgotten first."""

import numpy as np
import pytest
import torch

from inlay_shard.images.features import EmbeddedImage, FeatureCache, Features, Placement

IMAGE_BYTES = 40


def image(num_embeddings: int = 10, first: float = 0.0) -> EmbeddedImage:
    embeddings = torch.arange(first, first + num_embeddings).unsqueeze(1)
    return EmbeddedImage(embeddings=embeddings)


def placement(*places: int, positions: list[list[int]] | None = None) -> Placement:
    return Placement(
        places=np.array(places, np.int64),
        prompt_positions=None if positions is None else np.array(positions, np.int64),
    )


def full_cache() -> FeatureCache:
    """Two prompts of one image each, and no room for more."""
    cache = FeatureCache(2 * IMAGE_BYTES)
    for name in (b"a", b"b"):
        cache.put(b"prompt " + name, [name], [image()], placement())
    return cache


def test_places_within_a_piece_of_the_prompt() -> None:
    features = Features([image(4)], placement(2, 3, 6, 7))
    places, part = features.within(3, 7)
    assert places.tolist() == [3, 6]
    assert part.flatten().tolist() == [1.0, 2.0]
    assert len(features.within(8, 20)[0]) == 0


@pytest.mark.parametrize("start", range(9))
def test_pieces_across_several_images(start: int) -> None:
    """Embeddings stand at 1, 2, 4, 5, 6 and 8: those of three images, one after the other."""
    own = placement(1, 2, 4, 5, 6, 8)
    features = Features([image(2), image(3, 2), image(1, 5)], own)
    for end in range(start, 10):
        places, part = features.within(start, end)
        expected = [n for n, place in enumerate(own.places.tolist()) if start <= place < end]
        assert part.flatten().tolist() == expected
        assert places.tolist() == own.places[expected].tolist()


def test_positions_go_on_from_the_highest_of_the_prompt() -> None:
    prompt = [[0, 1, 1, 2], [0, 1, 1, 2], [0, 1, 2, 3]]
    features = Features([image(2)], placement(1, 2, positions=prompt))
    positions = features.positions(2, 6)
    assert positions is not None
    assert positions.tolist() == [[1, 2, 4, 5], [1, 2, 4, 5], [2, 3, 4, 5]]
    behind = features.positions(7, 8)
    assert behind is not None
    assert behind.tolist() == [[7], [7], [7]]


def test_the_oldest_is_forgotten_first() -> None:
    cache = full_cache()
    assert cache.get(b"prompt a") is not None
    cache.put(b"prompt c", [b"c"], [image()], placement())
    assert cache.get(b"prompt b") is None
    assert cache.image(b"b") is None
    assert cache.get(b"prompt a") is not None
    assert cache.get(b"prompt c") is not None
    assert cache.num_bytes == 2 * IMAGE_BYTES


def test_what_is_held_stays() -> None:
    cache = full_cache()
    held = cache.get(b"prompt a")
    for name in (b"c", b"d"):
        cache.put_image(name, image())
    assert cache.image(b"b") is None
    assert cache.image(b"c") is None
    again = cache.get(b"prompt a")
    assert held is not None and again is not None
    assert held.images == again.images
    del held, again
    cache.put_image(b"e", image())
    assert cache.get(b"prompt a") is not None
    cache.put_image(b"f", image())
    cache.put_image(b"g", image())
    assert cache.get(b"prompt a") is None


def test_one_that_is_too_large_still_serves_its_own_request() -> None:
    cache = FeatureCache(10)
    cache.put_image(b"image", image())
    cache.put(b"a", [b"image", b"other"], [image(), image()], placement(1))
    found = cache.get(b"a")
    assert found is not None
    assert len(found.images) == 2


def test_the_same_image_in_two_prompts_is_kept_once() -> None:
    cache = FeatureCache(1000)
    cache.put(b"a", [b"image"], [image()], placement(1))
    cache.put(b"b", [b"other", b"image"], [image(), image()], placement(2))
    first, second = cache.get(b"a"), cache.get(b"b")
    assert first is not None and second is not None
    assert first.images[0] is second.images[1]
    assert cache.num_bytes == 2 * IMAGE_BYTES + 2 * 8


def test_a_prompt_that_lost_an_image_is_gone() -> None:
    cache = FeatureCache(3 * IMAGE_BYTES)
    cache.put(b"a", [b"one", b"two"], [image(), image()], placement())
    cache.image(b"two")
    cache.put_image(b"three", image())
    cache.put_image(b"four", image())
    assert cache.image(b"two") is not None
    assert cache.get(b"a") is None


def test_putting_the_same_image_again_counts_it_once() -> None:
    cache = FeatureCache(1000)
    cache.put_image(b"a", image())
    cache.put_image(b"a", image(5))
    assert repr(cache) == "FeatureCache(1 entries, 20 bytes)"
