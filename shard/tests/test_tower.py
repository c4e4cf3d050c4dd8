"""Text towers that are recognised, run as one loop, and given back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from local_shard import start_shard
from tiny_models import make_tiny
from transformers import AutoModelForCausalLM

import inlay_kernels
from inlay_kernels.decoder import StreamedLinear
from inlay_shard.config import ShardConfig
from inlay_shard.errors import ModelRefused
from inlay_shard.fitting import paged_logits
from inlay_shard.model.cache import KVPool, in_panels
from inlay_shard.model.network import Network
from inlay_shard.proofs import probe
from inlay_shard.tower.packing import check_quantize
from inlay_shard.tower.tower import FusedTower, fuse, stream_head


class Case:
    """A tiny model with paged attention, and its own logits of the probe."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.network = Network(model.eval().requires_grad_(False))
        self.expected = probe.reference_logits(self.network)
        layers = probe.install(self.network)
        self.tower: Any = self.network.text_tower
        self.modules = [layer.module for layer in layers]
        kernels = inlay_kernels.select("cpu")
        self.pool = KVPool(
            in_panels(layers),
            kernels,
            num_blocks=8,
            block_size=32,
            dtype=torch.float32,
            device=torch.device("cpu"),
        )

    def logits(self) -> torch.Tensor:
        return paged_logits(self.network, self.pool, len(self.expected))


@pytest.fixture
def llama(tmp_path: Path) -> Case:
    return Case(make_tiny("llama", tmp_path / "llama"))


def test_a_fused_tower_computes_the_same_logits(llama: Case) -> None:
    fused = fuse(llama.network, llama.modules)
    assert isinstance(fused, FusedTower)
    stream_head(llama.network)
    assert isinstance(llama.network.model.get_output_embeddings(), StreamedLinear)
    ours = llama.logits()
    assert fused.agrees(llama.expected, ours)
    assert not fused.agrees(llama.expected, ours * 1.01)


def test_a_tower_in_int8_is_near_its_own_logits_and_not_equal(llama: Case) -> None:
    fused = fuse(llama.network, llama.modules, is_quantised=True)
    assert fused is not None
    stream_head(llama.network, is_quantised=True)
    ours = llama.logits()
    assert fused.agrees(llama.expected, ours)
    assert not torch.allclose(llama.expected, ours, rtol=1e-3, atol=1e-4)
    assert not fused.agrees(llama.expected, ours * 1.2)


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"hidden_act": "relu"}, {}, "this one, in float32, is of another kind"),
        ({}, {"dtype": "float16"}, "this one, in float16, is of another kind"),
        ({}, {"num_shards": 2}, "is for one shard. Given: 2"),
    ],
)
def test_int8_is_refused_where_it_cannot_be(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    folder = make_tiny("llama", tmp_path / "llama", **changes)
    with pytest.raises(ModelRefused, match=words):
        start_shard(folder, quantize="int8", **options)


def test_int8_is_refused_on_a_gpu() -> None:
    config = ShardConfig(model=Path("m"), model_id="m", address="", quantize="int8")
    with pytest.raises(ModelRefused, match="is for the CPU. Given: cuda"):
        check_quantize(config, torch.device("cuda"))


def test_int8_whose_logits_are_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedTower, "agrees", lambda *arguments: False)
    with pytest.raises(ModelRefused, match="too far from its own"):
        start_shard(make_tiny("llama", tmp_path / "llama"), quantize="int8")


def test_weights_are_not_held_twice(llama: Case) -> None:
    assert fuse(llama.network, llama.modules) is not None
    layer = llama.tower.layers[0]
    assert layer.self_attn.q_proj.weight.is_meta
    assert layer.mlp.down_proj.weight.is_meta


def test_undoing_gives_the_tower_back_to_the_bit(llama: Case) -> None:
    before = llama.logits()
    fused = fuse(llama.network, llama.modules)
    assert fused is not None
    fused.undo()
    assert torch.equal(llama.logits(), before)


def test_the_head_alone_leaves_the_fused_tower_in_place(llama: Case) -> None:
    fused = fuse(llama.network, llama.modules)
    with llama.network.keeping_hidden() as hidden, torch.inference_mode():
        logits = llama.logits()
        again = llama.network.head(hidden[0])
    assert torch.equal(again, logits[: len(again)])
    assert llama.tower.forward is fused


@pytest.mark.parametrize("part", ["norm", "bend"])
def test_a_part_that_computes_something_else_is_not_recognised(llama: Case, part: str) -> None:
    layer = llama.tower.layers[1]
    if part == "norm":
        layer.input_layernorm = torch.nn.LayerNorm(layer.mlp.up_proj.in_features)
    else:
        layer.mlp.act_fn = torch.nn.ReLU()
    assert fuse(llama.network, llama.modules) is None
    assert not layer.mlp.up_proj.weight.is_meta
