"""Sequences whose first tokens lie in the blocks of another answer like those of `generate`."""

import random
from pathlib import Path
from typing import Any

import pytest
from driver import BLOCK_SIZE, Driver, Running
from local_shard import Shard, picture, start_shard
from tiny_models import make_tiny
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.images.recipe import Piece

QUESTION: list[Piece] = ["look ", picture(1, 64, 64), " what is this, and that, and that again?"]


def a_shard(family: str, folder: Path, *, takes_images: bool = False) -> Shard:
    return start_shard(make_tiny(family, folder / family), takes_images=takes_images)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def llama(folder: Path) -> Shard:
    return a_shard("llama", folder)


def tokens(count: int, seed: int = 1) -> list[int]:
    numbers = random.Random(seed)
    return [numbers.randrange(10, 250) for _ in range(count)]


def sharing(driver: Driver, source: Running, num_blocks: int, *more: int, **others: Any) -> Running:
    """A sequence that begins with the first blocks of `source`, and goes on with other tokens."""
    known = [*source.message.token_ids, *source.output_ids][: num_blocks * BLOCK_SIZE]
    shared = source.block_ids[:num_blocks]
    assert len(shared) == num_blocks
    return driver.add([*known, *more], shared=shared, **others)


def test_a_prompt_goes_on_behind_the_blocks_of_another(llama: Shard) -> None:
    driver, reference = Driver(llama), Reference(llama.folder)
    first = driver.add(tokens(2 * BLOCK_SIZE + 5), max_new_tokens=40)
    driver.step()
    others = [sharing(driver, first, count, 7, 8, 9) for count in (1, 2)]
    driver.run()
    for running in [first, *others]:
        message = running.message
        asked = list(message.token_ids)
        assert running.output_ids == reference.generate(asked, message.max_new_tokens)


def test_only_the_last_token_is_left_to_compute(llama: Shard) -> None:
    driver, reference = Driver(llama), Reference(llama.folder)
    first = driver.add(tokens(2 * BLOCK_SIZE), max_new_tokens=20)
    driver.step()
    again = sharing(driver, first, 1, *first.message.token_ids[BLOCK_SIZE:])
    edge = sharing(driver, first, 2, 5)
    driver.run()
    for running in (again, edge):
        assert running.output_ids == reference.generate(list(running.message.token_ids))


def test_a_second_turn_reuses_the_blocks_of_the_answer(llama: Shard) -> None:
    driver, reference = Driver(llama), Reference(llama.folder)
    first = driver.add(tokens(10), max_new_tokens=60)
    for _ in range(BLOCK_SIZE):
        driver.step()
    second = sharing(driver, first, 1, 20, 21, 22)
    assert second.message.token_ids[10:BLOCK_SIZE] == first.output_ids[: BLOCK_SIZE - 10]
    driver.run()
    assert second.output_ids == reference.generate(list(second.message.token_ids))


@pytest.mark.parametrize("family", ["idefics3", "qwen2_vl"])
def test_an_image_within_the_cached_tokens_is_not_embedded_again(
    family: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = a_shard(family, folder, takes_images=True)
    reply, reference = shard.prepare(QUESTION), Reference(shard.folder, takes_images=True)
    driver = Driver(shard)
    first = driver.add(reply.token_ids, max_new_tokens=40, features_key=reply.features_key)
    driver.step()
    monkeypatch.setattr(shard.ready.network, "encode_images", None)
    num_blocks = (len(reply.token_ids) - 1) // BLOCK_SIZE
    assert num_blocks * BLOCK_SIZE >= reply.images[0].start + reply.images[0].length
    more = reply.token_ids[num_blocks * BLOCK_SIZE :]
    second = sharing(driver, first, num_blocks, *more, features_key=reply.features_key)
    driver.run()
    assert first.output_ids[:12] == second.output_ids == reference.generate_seen(QUESTION)


def test_features_that_are_gone_matter_only_to_tokens_that_need_them(folder: Path) -> None:
    """Images of idefics3 do not move the positions behind them."""
    shard = a_shard("idefics3", folder, takes_images=True)
    reply, reference = shard.prepare(QUESTION), Reference(shard.folder, takes_images=True)
    driver = Driver(shard)
    first = driver.add(reply.token_ids, max_new_tokens=40, features_key=reply.features_key)
    driver.step()
    num_blocks = (len(reply.token_ids) - 1) // BLOCK_SIZE
    more = reply.token_ids[num_blocks * BLOCK_SIZE :]
    cached = sharing(driver, first, num_blocks, *more, features_key=b"gone")
    early = sharing(driver, first, 1, *reply.token_ids[BLOCK_SIZE:], features_key=b"gone")
    driver.run()
    assert cached.output_ids == reference.generate_seen(QUESTION)
    assert early.failure is not None
    assert early.failure.kind == pb.RowFailure.KIND_FEATURES_MISSING


def test_a_sequence_with_nothing_left_to_compute_fails_alone(llama: Shard) -> None:
    driver = Driver(llama)
    first = driver.add(tokens(2 * BLOCK_SIZE))
    driver.step()
    nothing_left = sharing(driver, first, 2)
    driver.run()
    assert nothing_left.failure is not None and "64 of 64" in nothing_left.failure.message
    assert len(first.output_ids) == 12
