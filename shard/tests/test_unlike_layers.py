"""Text towers whose layers differ: some share keys and values, some see ahead within images."""

from pathlib import Path

import pytest
import torch
from driver import Driver
from families.listing import classes
from families.making import make_folder
from families.recipes import RECIPES
from local_shard import Shard, picture, start_shard

from inlay_shard.model.attention import PagedLayer, attached
from inlay_shard.model.cache import AttentionLayer, all_alike, bytes_per_block
from inlay_shard.model.loading import quiet
from inlay_shard.model.view import View, widest

KINDS = ["sliding_attention", "full_attention"] * 2


@pytest.fixture(scope="module")
def gemma4(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    folder: Path = tmp_path_factory.mktemp("models") / "gemma4"
    with quiet():
        make_folder(*classes("gemma4"), RECIPES["gemma4"], folder)
        return start_shard(folder, takes_images=True)


def paged_layers(shard: Shard) -> list[PagedLayer]:
    tower = shard.ready.network.text_tower
    modules = [layer.self_attn for layer in tower.layers]  # type: ignore[union-attr]
    layers = [attached(module) for module in modules]
    assert all(isinstance(layer, PagedLayer) for layer in layers)
    return layers  # type: ignore[return-value]


def test_layers_that_share_keys_hold_them_once(gemma4: Shard) -> None:
    first, second, third, fourth = paged_layers(gemma4)
    assert third.key_cache is first.key_cache and third.value_cache is first.value_cache
    assert fourth.key_cache is second.key_cache and first.key_cache is not second.key_cache
    assert [layer.writes for layer in (first, second, third, fourth)] == [True, True, False, False]


def test_the_pool_takes_memory_for_layers_of_their_own_alone() -> None:
    first = AttentionLayer(module=torch.nn.Identity(), num_kv_heads=2, head_size=8)
    reader = AttentionLayer(
        module=torch.nn.Identity(), num_kv_heads=2, head_size=8, source=first.module
    )
    assert bytes_per_block([first, reader], 16, torch.float32) == 2 * 2 * 8 * 16 * 4
    assert all_alike([first, first]) and not all_alike([first, reader])


def test_only_sliding_layers_see_ahead(gemma4: Shard) -> None:
    network = gemma4.ready.network
    assert [network.sees_ahead(kind) for kind in KINDS] == [True, False] * 2
    assert [layer.sees_ahead for layer in paged_layers(gemma4)] == [True, False] * 2
    assert network.view is View.IMAGE and gemma4.facts.bidirectional_images


def test_the_widest_view() -> None:
    assert widest({}) is View.CAUSAL
    assert widest({"full_attention": View.CAUSAL, "": View.IMAGE}) is View.IMAGE


def test_prompt_logprobs_where_a_tower_is_given_more_than_embeddings(gemma4: Shard) -> None:
    reply = gemma4.prepare(["a", picture(1), " b"])
    driver = Driver(gemma4)
    running = driver.add(
        reply.token_ids,
        features_key=reply.features_key,
        places=reply.images,
        prompt_logprobs=True,
    )
    driver.run()
    assert sorted(running.prompt_logprobs) == list(range(1, len(reply.token_ids)))
