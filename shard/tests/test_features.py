"""Features of images: where they stand, how positions go on, and what is forgotten first."""

import numpy as np
import pytest
import torch
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.features import FeatureCache, Features, Images, Placement


def pixels(num_bytes: int = 40) -> dict[str, Tensor]:
    return {"pixel_values": torch.zeros(num_bytes, dtype=torch.uint8)}


def placement(*places: int, positions: list[list[int]] | None = None) -> Placement:
    return Placement(
        places=np.array(places, np.int64),
        prompt_positions=None if positions is None else np.array(positions, np.int64),
    )


def embedded(num_embeddings: int) -> Images:
    images = Images(pixels())
    images.embed(lambda _: torch.arange(float(num_embeddings)).unsqueeze(1))
    return images


def test_only_rows_that_reach_a_place_need_embeddings() -> None:
    features = Features(Images(pixels()), placement(4, 5))
    assert not features.needs_embedding(0, 4)
    assert features.needs_embedding(0, 5)
    assert features.needs_embedding(5, 9)
    assert not features.needs_embedding(6, 9)


def test_places_within_a_piece_of_the_prompt() -> None:
    features = Features(embedded(4), placement(2, 3, 6, 7))
    places, part = features.within(3, 7)
    assert places.tolist() == [3, 6]
    assert part.flatten().tolist() == [1.0, 2.0]
    assert len(features.within(8, 20)[0]) == 0


def test_images_that_do_not_fill_their_places_fail_the_row() -> None:
    features = Features(Images(pixels()), placement(1, 2, 3))
    with pytest.raises(RowFailed, match="3 places for images, its images fill 2") as caught:
        features.embed(lambda _: torch.zeros(2, 8))
    assert caught.value.kind == pb.RowFailure.KIND_INVALID


def test_embedding_frees_the_pixels() -> None:
    images = Images(pixels(1000))
    assert images.num_bytes == 1000
    images.embed(lambda _: torch.zeros(2, 3))
    assert images.num_bytes == 2 * 3 * 4


def test_positions_go_on_from_the_highest_of_the_prompt() -> None:
    prompt = [[0, 1, 1, 2], [0, 1, 1, 2], [0, 1, 2, 3]]
    features = Features(embedded(2), placement(1, 2, positions=prompt))
    positions = features.positions(2, 6)
    assert positions is not None
    assert positions.tolist() == [[1, 2, 4, 5], [1, 2, 4, 5], [2, 3, 4, 5]]
    behind = features.positions(7, 8)
    assert behind is not None
    assert behind.tolist() == [[7], [7], [7]]


def test_the_oldest_prompt_is_forgotten_first() -> None:
    cache = FeatureCache(100)
    for name in (b"a", b"b"):
        cache.put(name, name, Images(pixels()), placement())
    assert cache.get(b"a") is not None
    cache.put(b"c", b"c", Images(pixels()), placement())
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert cache.get(b"c") is not None
    assert cache.num_bytes == 80


def test_one_that_is_too_large_still_serves_its_own_request() -> None:
    cache = FeatureCache(10)
    cache.put(b"a", b"a", Images(pixels()), placement())
    assert cache.get(b"a") is not None


def test_the_same_images_in_two_prompts_are_kept_once() -> None:
    cache = FeatureCache(1000)
    cache.put(b"a", b"images", Images(pixels()), placement(1))
    cache.put(b"b", b"images", Images(pixels()), placement(2))
    first, second = cache.get(b"a"), cache.get(b"b")
    assert first is not None and second is not None
    assert first.images is second.images
    assert cache.num_bytes == 40 + 2 * 8
