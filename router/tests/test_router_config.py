"""Limits that follow from the model, and those that do not fit it."""

from pathlib import Path
from typing import Any

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.config import ConfigError, Limits, RouterConfig, check


def limits(positions: int = 2048, num_blocks: int = 64, **settings: Any) -> Limits:
    facts = pb.ModelFacts(
        max_position_embeddings=positions, num_blocks=num_blocks, block_size=16, takes_images=True
    )
    return Limits.of(RouterConfig(shard_addresses=(), **settings), facts)


@pytest.mark.parametrize(
    ("positions", "num_blocks", "max_total_tokens"),
    [(2048, 64, 1024), (512, 64, 512), (0, 64, 1024)],
)
def test_the_model_and_its_pool_set_the_longest_answer(
    positions: int, num_blocks: int, max_total_tokens: int
) -> None:
    found = limits(positions, num_blocks)
    assert found.max_total_tokens == max_total_tokens
    assert found.max_input_tokens == max_total_tokens - 1
    assert found.takes_images


def test_the_operator_may_set_less() -> None:
    found = limits(max_total_tokens=100, max_input_tokens=10)
    assert (found.max_total_tokens, found.max_input_tokens) == (100, 10)


def test_the_operator_may_not_set_more() -> None:
    with pytest.raises(ConfigError) as caught:
        limits(max_total_tokens=1025)
    assert str(caught.value) == (
        "--max-total-tokens must be <= 1024: the model has 2048 positions and its KV pool holds "
        "1024 tokens. Given: 1025"
    )


@pytest.mark.parametrize("max_input_tokens", [100, 101, -1])
def test_a_prompt_leaves_room_for_an_answer(max_input_tokens: int) -> None:
    with pytest.raises(ConfigError, match="--max-input-tokens must be at least 1 and less than"):
        limits(max_total_tokens=100, max_input_tokens=max_input_tokens)


def checked(**settings: Any) -> None:
    check(RouterConfig(shard_addresses=(), **settings))


def test_what_is_wrong_with_any_model_is_refused_before_one_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--max-total-tokens \(50\). Given: 100"):
        checked(max_input_tokens=100, max_total_tokens=50)
    with pytest.raises(ConfigError, match="--otlp-endpoint must begin with http.*localhost:4318"):
        checked(otlp_endpoint="localhost:4318")
    with pytest.raises(ConfigError, match="--allowed-local-images: there is no folder .*/nowhere"):
        checked(allowed_local_images=tmp_path / "nowhere")


def test_what_only_a_model_can_tell_is_not_refused_before(tmp_path: Path) -> None:
    checked(max_total_tokens=1 << 40, allowed_local_images=tmp_path)
    checked(max_input_tokens=100, otlp_endpoint="https://collector")
