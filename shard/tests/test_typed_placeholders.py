"""Placeholders of images that come as tokens of a text, without an image."""

from pathlib import Path

import pytest
from driver import Driver
from local_shard import Shard, picture, start_shard
from tiny_models import make_tiny
from tokenizers import Tokenizer
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.images.recipe import Piece

TEXT = [40, 50, 60, 70]


@pytest.fixture(scope="module", params=["llava", "qwen2_vl", "idefics3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(request.param, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def shard(folder: Path) -> Shard:
    return start_shard(folder, takes_images=True)


def placeholder(shard: Shard) -> int:
    token_id = shard.ready.network.image_token_id
    assert token_id is not None
    return token_id


def test_the_router_is_told_what_stands_for_images(shard: Shard) -> None:
    tokenizer = Tokenizer.from_str(shard.facts.tokenizer_json)
    told = [tokenizer.token_to_id(token) for token in shard.facts.placeholders]
    assert placeholder(shard) in told


def test_a_placeholder_without_an_image_is_a_token_like_others(shard: Shard, folder: Path) -> None:
    driver = Driver(shard)
    seen: list[Piece] = ["a ", picture(1), " b"]
    reply = shard.prepare(seen)
    neighbours = [
        driver.add(TEXT),
        driver.add(reply.token_ids, features_key=reply.features_key),
    ]
    typed = driver.add([*TEXT, *[placeholder(shard)] * 5, *TEXT])
    driver.run()
    assert typed.failure is None and typed.output_ids
    reference = Reference(folder, takes_images=True)
    assert neighbours[0].output_ids == reference.generate(TEXT)
    assert neighbours[1].output_ids == reference.generate_seen(seen)


def test_a_placeholder_without_an_embedding_is_refused_alone(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some models have none for it: an image always takes its place."""
    image_token_id = placeholder(shard)
    driver = Driver(shard)
    reply = shard.prepare([picture(2), " b"])
    roster = shard.ready.engine._roster
    monkeypatch.setattr(roster, "_num_embeddings", image_token_id)
    typed = driver.add([image_token_id])
    driver.run()
    assert typed.failure is not None
    assert typed.failure.kind == pb.RowFailure.KIND_INVALID
    roster._check_token_ids(
        pb.Sequence(token_ids=[image_token_id], features_key=reply.features_key)
    )
