"""Embeddings in an image's stead: the same answers as with the image, or a refusal in words."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from driver import Driver
from local_shard import Shard, embeds_of, start_shard
from tiny_models import make_tiny
from torch import Tensor

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.frames import Frame, find_frame
from inlay_shard.images.preparation import load_preparer
from inlay_shard.images.recipe import Piece

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "front" / "inlay" / "embedded_model"
A, B = ((ROOT / "examples" / name).read_bytes() for name in ("shapes.png", "star.jpg"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shard]:
    """Started shards by the family of their model."""
    shards: dict[str, Shard] = {}

    def start(family: str) -> Shard:
        if family not in shards:
            folder = EMBEDDED
            if family != "embedded":
                folder = make_tiny(family, tmp_path_factory.mktemp("models") / family)
            shards[family] = start_shard(folder, takes_images=True)
        return shards[family]

    return start


def encoded(shard: Shard, image: bytes) -> Tensor:
    """What the model's own encoder makes of an image: (n, hidden)."""
    preparer = load_preparer(shard.folder)
    assert preparer is not None
    inputs = preparer.expand(image).inputs
    network = shard.ready.network
    pixels = {name: torch.from_numpy(inputs[name]) for name in network.pixel_names(inputs)}
    with torch.inference_mode():
        return network.encode_images(pixels)


def answer(shard: Shard, pieces: Sequence[Piece], chunk: int = 1 << 20) -> list[int]:
    reply = shard.prepare(pieces)
    driver = Driver(shard, chunk=chunk)
    running = driver.add(reply.token_ids, features_key=reply.features_key, places=reply.images)
    driver.run()
    assert running.failure is None
    return running.output_ids


@pytest.mark.parametrize("family", ["embedded", "llava"])
def test_the_answer_is_the_one_to_the_image(tiny: Callable[[str], Shard], family: str) -> None:
    shard = tiny(family)
    a, b = (embeds_of(encoded(shard, image)) for image in (A, B))
    expected = answer(shard, ["see ", A, " and ", B, " what?"])
    assert answer(shard, ["see ", a, " and ", b, " what?"]) == expected
    assert answer(shard, ["see ", A, " and ", b, " what?"]) == expected
    assert answer(shard, ["see ", a, " and ", b, " what?"], chunk=5) == expected
    assert answer(shard, ["see ", b, " and ", a, " what?"]) != expected


def test_a_sequence_that_gave_way_goes_on(tiny: Callable[[str], Shard]) -> None:
    shard = tiny("llava")
    pieces: list[Piece] = ["see ", embeds_of(encoded(shard, A)), " what?"]
    reply = shard.prepare(pieces)
    driver = Driver(shard, chunk=6)
    running = driver.add(reply.token_ids, features_key=reply.features_key, places=reply.images)
    driver.step()
    driver.preempt(running)  # within the image
    while len(running.output_ids) < 4:
        driver.step()
    driver.preempt(running)
    driver.run()
    assert running.output_ids == answer(shard, pieces)


def test_tokens_and_places_are_those_of_the_image(tiny: Callable[[str], Shard]) -> None:
    shard = tiny("embedded")
    embeds = embeds_of(encoded(shard, A))
    by_image, by_embeds = (shard.prepare(["see ", one, " it"]) for one in (A, embeds))
    assert by_image.token_ids == by_embeds.token_ids
    (image,), (stead,) = by_image.images, by_embeds.images
    assert (image.start, image.length) == (stead.start, stead.length)
    assert image.digest != stead.digest, "an image is one thing, what stands for it another"


def test_the_bytes_name_what_is_kept(tiny: Callable[[str], Shard]) -> None:
    shard = tiny("llava")
    numbers = torch.linspace(-1, 1, 16 * 64).view(16, 64)
    first = shard.prepare([embeds_of(numbers), "what?"])
    again = shard.prepare([embeds_of(numbers), "another question"])
    other = shard.prepare([embeds_of(-numbers), "what?"])
    assert (first.num_known_images, again.num_known_images) == (0, 1)
    assert first.images[0].digest == again.images[0].digest != other.images[0].digest
    assert first.features_key != other.features_key


def test_types_of_half_the_size_are_taken(tiny: Callable[[str], Shard]) -> None:
    shard = tiny("llava")
    numbers = torch.linspace(-1, 1, 16 * 64).view(16, 64)
    for dtype in (torch.float16, torch.bfloat16):
        reply = shard.prepare([embeds_of(numbers.to(dtype)), "what?"])
        features = shard.features.get(reply.features_key)
        assert features is not None
        assert torch.equal(features.images[0].embeddings, numbers.to(dtype).float())


def test_they_count_against_the_cache_by_their_bytes(tiny: Callable[[str], Shard]) -> None:
    shard = tiny("llava")
    before = shard.features.num_bytes
    shard.prepare([embeds_of(torch.full((16, 64), 0.5)), "what?"])
    assert shard.features.num_bytes - before >= 16 * 64 * 4


REFUSED = {
    "width": (torch.zeros(16, 32), r"shape \(num_images, 16, 64\).*16 embeddings of 32 numbers"),
    "count": (torch.zeros(15, 64), r"shape \(num_images, 16, 64\).*15 embeddings of 64 numbers"),
    "not a number": (torch.full((16, 64), torch.nan), "must be finite numbers"),
    "infinity": (torch.full((16, 64), -torch.inf).half(), "must be finite numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_of_the_model_is_refused(tiny: Callable[[str], Shard], case: str) -> None:
    numbers, words = REFUSED[case]
    with pytest.raises(PreparationRefused, match=words):
        tiny("llava").prepare(["see ", embeds_of(numbers), " there"])


def test_models_that_need_more_than_embeddings_say_so(tiny: Callable[[str], Shard]) -> None:
    embeds = embeds_of(torch.zeros(16, 64))
    with pytest.raises(PreparationRefused, match="type qwen2_vl number the tokens .* rows"):
        tiny("qwen2_vl").prepare([embeds, "what?"])
    with pytest.raises(PreparationRefused, match="type idefics3 lay .* in rows or tiles"):
        tiny("idefics3").prepare([embeds, "what?"])


def test_a_frame_is_what_all_images_have_in_common() -> None:
    same = [np.array([7, 3, 3, 8]), np.array([7, 3, 3, 8])]
    assert find_frame(same, 3) == Frame(before=(7,), behind=(8,), num_places=2)
    longer = [*same, np.array([7, 3, 3, 3, 8])]
    assert find_frame(longer, 3) == Frame(before=(7,), behind=(8,), num_places=None)
    assert find_frame([*same, np.array([7, 3, 3, 9])], 3) is None
    assert find_frame([np.array([7, 3, 6, 3, 8])], 3) is None
