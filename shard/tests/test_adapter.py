"""Models whose adapter says how they take images in."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from driver import Driver
from local_shard import Shard, embeds_of, picture, start_shard
from PIL import Image
from tiny_models import make_tiny
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import ModelRefused, PreparationRefused
from inlay_shard.images.image_workers import ImageWorkers
from inlay_shard.images.recipe import Piece

RIGHT = ("adapted_llava",)
A, B = picture(1), picture(2, 90, 30)
PROMPT: list[Piece] = ["see ", A, " and ", B, B, " what?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llava", tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def shard(folder: Path) -> Shard:
    return start_shard(folder, takes_images=True, plugins=RIGHT)


def answer(shard: Shard, reply: pb.PrepareReply, chunk: int = 1 << 20) -> list[int]:
    driver = Driver(shard, chunk=chunk)
    running = driver.add(reply.token_ids, features_key=reply.features_key, places=reply.images)
    driver.run()
    assert running.failure is None
    return running.output_ids


@pytest.mark.parametrize("chunk", [1 << 20, 5])
def test_answers_are_those_of_the_model(shard: Shard, folder: Path, chunk: int) -> None:
    expected = Reference(folder, takes_images=True).generate_seen(PROMPT)
    reply = shard.prepare(PROMPT)
    assert answer(shard, reply, chunk) == expected
    assert [place.length for place in reply.images] == [16, 16, 16]


def test_embeddings_stand_for_its_images(shard: Shard) -> None:
    reply = shard.prepare(PROMPT)
    features = shard.features.get(reply.features_key)
    assert features is not None
    embeds = embeds_of(features.images[0].embeddings)
    instead = shard.prepare(["see ", embeds, " and ", B, B, " what?"])
    assert answer(shard, instead) == answer(shard, reply)


def test_what_it_refuses_is_refused_alone(shard: Shard) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    with pytest.raises(PreparationRefused, match="ValueError: one pixel is no picture"):
        shard.prepare([buffer.getvalue(), "what?"])
    with pytest.raises(PreparationRefused, match="contains '<image>', which this model keeps"):
        shard.prepare([A, "what is <image>?"])
    assert shard.prepare([A, "what?"]).token_ids


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("wrong_features", "it puts images into the text in a way .* type llava"),
        ("wrong_positions", "it numbers the tokens of images in a way .* type llava"),
        ("unknown_token", "its tokenizer has no special token '<picture>'"),
    ],
)
def test_a_wrong_adapter_is_found_at_start(folder: Path, plugin: str, words: str) -> None:
    with pytest.raises(ModelRefused, match=words):
        start_shard(folder, takes_images=True, plugins=(f"adapted_llava:{plugin}",))


def test_its_word_is_taken_where_nothing_can_be_compared(folder: Path) -> None:
    shard = start_shard(folder, takes_images=True, plugins=("adapted_llava:unknown_names",))
    reply = shard.prepare(PROMPT)
    features = shard.features.get(reply.features_key)
    assert features is not None
    positions = features.positions(0, len(reply.token_ids) + 3)
    assert positions is not None and positions.shape == (1, len(reply.token_ids) + 3)
    last = (len(reply.token_ids) - 1) // 2
    assert positions[0, -4:].tolist() == [last, last + 1, last + 2, last + 3]
    assert answer(shard, reply) == answer(shard, reply, chunk=5)
    assert answer(shard, reply) != Reference(folder, takes_images=True).generate_seen(PROMPT)


def test_workers_load_it_too(folder: Path, shard: Shard) -> None:
    workers = ImageWorkers(folder, 1, plugins=RIGHT)
    try:
        expansion, _ = asyncio.run(workers.expand(A))
    finally:
        workers.stop()
    assert shard.desk is not None
    inline, _ = asyncio.run(shard.desk._workers.expand(A))
    assert np.array_equal(expansion.token_ids, inline.token_ids)
    assert expansion.inputs.keys() == {"pixel_values"}
    assert np.array_equal(expansion.inputs["pixel_values"], inline.inputs["pixel_values"])
