"""From prompts with images to features: what is done once, what is shared, and what fails alone."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from driver import Driver
from local_shard import InlineWorkers, Shard, picture, prepare_request, start_shard
from tiny_models import make_tiny
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.desk import ImageDesk
from inlay_shard.images.recipe import Piece, Recipe

A, B, C = picture(1), picture(2), picture(3)
IMAGE_BYTES = 16 * 64 * 4
"""Of the embeddings of one image."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llava", tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Shard:
    return start_shard(folder, takes_images=True)


@pytest.fixture
def shard(loaded: Shard, folder: Path) -> Shard:
    """The same model, that has seen no image yet."""
    loaded.features._entries.clear()
    loaded.features._num_bytes = 0
    loaded.features.max_bytes = 1 << 24
    loaded.desk = ImageDesk(InlineWorkers(folder), loaded.features, folder)
    return loaded


class Tower:
    """What comes to the vision tower: a real hook on the model."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        """Images of each pass."""
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.poison: torch.Tensor | None = None
        """It fails on batches with this image."""

    @property
    def num_images(self) -> int:
        """Of all passes."""
        return sum(self.batches)

    def __call__(self, module: object, arguments: Any, named: dict[str, Any]) -> None:
        pixels: torch.Tensor = arguments[0] if arguments else named["pixel_values"]
        self.batches.append(len(pixels))
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        if self.poison is not None and bool((pixels == self.poison).flatten(1).all(1).any()):
            raise RuntimeError("poison")


@contextmanager
def watched(shard: Shard) -> Iterator[Tower]:
    tower = Tower()
    model: Any = shard.ready.network.model
    handle = model.model.vision_tower.register_forward_pre_hook(tower, with_kwargs=True)
    try:
        yield tower
    finally:
        handle.remove()


def prepare_all(shard: Shard, prompts: Sequence[Sequence[Piece]]) -> list[pb.PrepareReply]:
    """All at the same time."""
    desk = shard.desk
    assert desk is not None

    async def scenario() -> list[pb.PrepareReply]:
        requests = [prepare_request(pieces) for pieces in prompts]
        return await asyncio.gather(*(desk.prepare(one, shard.eyes) for one in requests))

    return asyncio.run(scenario())


def test_the_same_image_is_embedded_once_wherever_it_stands(shard: Shard) -> None:
    with watched(shard) as tower:
        first = shard.prepare([A, "what?"])
        second = shard.prepare(["a longer text before ", A, " and another question", A])
    assert tower.num_images == 1
    assert first.features_key != second.features_key
    assert {place.digest for place in second.images} == {first.images[0].digest}
    assert (first.num_known_images, second.num_known_images) == (0, 1)
    assert second.timings.encode == second.timings.prepare == 0


def test_prompts_share_images(shard: Shard) -> None:
    with watched(shard) as tower:
        first, second = shard.prepare([A, "x", B]), shard.prepare([B, C, "y"])
    assert tower.num_images == 3
    assert first.images[1].digest == second.images[0].digest
    assert len({place.digest for reply in (first, second) for place in reply.images}) == 3


def test_asked_at_the_same_time_it_is_embedded_once(shard: Shard) -> None:
    with watched(shard) as tower:
        replies = prepare_all(shard, [[A, f"question {n}"] for n in range(8)])
    assert tower.num_images == 1
    assert len({reply.images[0].digest for reply in replies}) == 1


def test_what_waits_is_embedded_together(shard: Shard) -> None:
    with watched(shard) as tower, ThreadPoolExecutor(2) as pool:
        tower.may_go_on.clear()
        first = pool.submit(shard.prepare, [C, "?"])
        assert tower.has_begun.wait(60)
        others = pool.submit(shard.prepare, [A, B, picture(4)])
        wait_for_queue(shard, 3)
        tower.may_go_on.set()
        first.result(60)
        others.result(60)
    assert tower.batches == [1, 3]


def wait_for_queue(shard: Shard, num_images: int) -> None:
    """Until so many images wait for the encoder."""
    encoder = shard.eyes.encoder
    with encoder._has_news:
        assert encoder._has_news.wait_for(lambda: len(encoder._waiting) == num_images, 60)


def test_the_same_prompt_is_answered_at_once(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shard.desk is not None
    first = shard.prepare([A, "what?"])
    assert first.timings.encode > 0
    monkeypatch.setattr(shard.desk, "_spliced", None)
    again = shard.prepare([A, "what?"])
    assert again.token_ids == first.token_ids
    assert again.features_key == first.features_key
    assert again.timings.encode == 0
    assert again.num_known_images == 1


def test_what_was_forgotten_is_embedded_again(shard: Shard, folder: Path) -> None:
    shard.features.max_bytes = 3 * IMAGE_BYTES // 2 + 2000
    with watched(shard) as tower:
        first = shard.prepare([A, "?"])
        shard.prepare([B, "?"])
        assert shard.features.get(first.features_key) is None
        again = shard.prepare([A, "?"])
    assert tower.num_images == 3
    driver = Driver(shard)
    running = driver.add(again.token_ids, features_key=again.features_key)
    driver.run()
    assert running.output_ids == Reference(folder, takes_images=True).generate_seen([A, "?"])


def test_what_a_sequence_needs_is_not_forgotten(shard: Shard, folder: Path) -> None:
    """A sequence is preempted behind many other images, and computes its own again."""
    shard.features.max_bytes = 1
    reply = shard.prepare([A, "?"])
    driver = Driver(shard)
    running = driver.add(reply.token_ids, features_key=reply.features_key)
    driver.step()
    for number in range(5):
        shard.prepare([picture(10 + number), "?"])
    assert shard.features.num_bytes < 3 * IMAGE_BYTES
    driver.preempt(running)
    driver.run()
    assert running.output_ids == Reference(folder, takes_images=True).generate_seen([A, "?"])
    shard.ready.engine.reset()
    shard.prepare([B, "?"])
    assert shard.features.get(reply.features_key) is None


def test_steps_run_while_the_encoder_does(shard: Shard, folder: Path) -> None:
    driver = Driver(shard)
    running = driver.add([40, 50, 60])
    with watched(shard) as tower, ThreadPoolExecutor(1) as pool:
        tower.may_go_on.clear()
        asking = pool.submit(shard.prepare, [A, "?"])
        assert tower.has_begun.wait(60)
        driver.run()
        assert not asking.done()
        tower.may_go_on.set()
        asking.result(60)
    assert running.output_ids == Reference(folder).generate([40, 50, 60])


def test_an_image_that_breaks_the_encoder_fails_alone(shard: Shard, folder: Path) -> None:
    """In one batch with two others, whose prompts go on."""
    bad = picture(7)
    poison = InlineWorkers(folder)._preparer.expand(bad).inputs["pixel_values"]
    with watched(shard) as tower, ThreadPoolExecutor(4) as pool:
        tower.poison = torch.from_numpy(poison)
        tower.may_go_on.clear()
        before = pool.submit(shard.prepare, [C, "?"])
        assert tower.has_begun.wait(60)
        first, refused, last = (pool.submit(shard.prepare, [image, "?"]) for image in (A, bad, B))
        wait_for_queue(shard, 3)
        tower.may_go_on.set()
        before.result(60)
        with pytest.raises(PreparationRefused, match="the images could not be embedded: poison"):
            refused.result(60)
    assert tower.batches == [1, 3, 1, 1, 1]
    reference = Reference(folder, takes_images=True)
    driver = Driver(shard)
    for asking, image in ((first, A), (last, B)):
        reply = asking.result()
        running = driver.add(reply.token_ids, features_key=reply.features_key)
        driver.run()
        assert running.output_ids == reference.generate_seen([image, "?"])


def test_one_bad_image_of_a_prompt_is_told_in_its_words(shard: Shard) -> None:
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        shard.prepare([A, "x", b"no image"])


def test_images_that_do_not_fill_their_places_are_refused(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = shard.ready.network
    monkeypatch.setattr(network, "encode_images", lambda pixels: torch.zeros(3, 64))
    words = "the prompt has 16 places for images, its images fill 3"
    with pytest.raises(PreparationRefused, match=words):
        shard.prepare([A, "?"])


def test_who_left_is_not_embedded(shard: Shard) -> None:
    with watched(shard) as tower, ThreadPoolExecutor(1) as pool:
        tower.may_go_on.clear()
        first = pool.submit(shard.prepare, [A, "?"])
        assert tower.has_begun.wait(60)
        asyncio.run(ask_and_leave(shard, [B, "?"]))
        tower.may_go_on.set()
        first.result(60)
        shard.prepare([C, "?"])
    assert tower.num_images == 2


async def ask_and_leave(shard: Shard, pieces: Sequence[Piece]) -> None:
    """Leaves while the image waits for the encoder."""
    assert shard.desk is not None
    asking = asyncio.create_task(shard.desk.prepare(prepare_request(pieces), shard.eyes))
    await asyncio.to_thread(wait_for_queue, shard, 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()


class Unproven(InlineWorkers):
    """A processor that prompts cannot be spliced for."""

    num_prompts = 0

    async def recipe(self) -> Recipe:
        return replace(await super().recipe(), can_splice=False)

    async def prepare(self, *arguments: Any) -> Any:
        self.num_prompts += 1
        return await super().prepare(*arguments)


def test_where_nothing_is_proven_whole_prompts_are_prepared(shard: Shard, folder: Path) -> None:
    workers = Unproven(folder)
    shard.desk = ImageDesk(workers, shard.features, folder)
    reference = Reference(folder, takes_images=True)
    prompts: list[list[Piece]] = [[A, "x", B], [A, "what", B, "?"], [B, "x", A]]
    with watched(shard) as tower:
        replies = [shard.prepare(pieces) for pieces in (*prompts, prompts[0])]
    assert tower.num_images == 4
    assert workers.num_prompts == 3
    assert [reply.num_known_images for reply in replies] == [0, 1, 0, 2]
    digests = [[place.digest for place in reply.images] for reply in replies]
    assert digests[0] == digests[1] == digests[3]
    assert len({*digests[0], *digests[2]}) == 4
    driver = Driver(shard)
    for reply, pieces in zip(replies[:3], prompts, strict=True):
        running = driver.add(reply.token_ids, features_key=reply.features_key)
        driver.run()
        assert running.output_ids == reference.generate_seen(pieces)
