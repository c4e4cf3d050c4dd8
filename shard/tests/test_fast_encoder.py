"""Encoders of images that attend by our kernel, where that was proven."""

from pathlib import Path
from typing import Any

import pytest
import torch
from local_shard import start_shard
from tiny_models import TAKE_IMAGES, make_tiny
from torch import Tensor, nn

from inlay_kernels.full_attention import full_attention
from inlay_shard.encoder import encoder_attention, fast_encoder
from inlay_shard.encoder.encoder_attention import FULL
from inlay_shard.encoder.fast_encoder import outside, quicken_attention, quicken_layers
from inlay_shard.model.architecture import auto_class, read_config
from inlay_shard.model.network import Network
from inlay_shard.proofs.sample import sample

Sample = tuple[Network, dict[str, Tensor]]


def attentions(network: Network) -> set[str]:
    """Of the encoder's layers, by the names that `transformers` has for them."""
    configs: list[Any] = [
        module.config
        for module in outside(network)
        if type(module).__name__.endswith("Attention") and hasattr(module, "config")
    ]
    return {config._attn_implementation for config in configs}


@pytest.fixture
def seen(tmp_path: Path) -> Sample:
    folder = make_tiny("llava", tmp_path / "llava")
    model: Any = auto_class(read_config(folder)).from_pretrained(folder, dtype=torch.float32)
    network = Network(model.eval().requires_grad_(False))
    inputs = sample(folder).inputs
    names = network.pixel_names(inputs)
    return network, {name: torch.from_numpy(inputs[name]) for name in names}


@pytest.mark.parametrize("family", TAKE_IMAGES)
def test_a_shard_attends_by_our_kernel(family: str, tmp_path: Path) -> None:
    shard = start_shard(make_tiny(family, tmp_path / family), takes_images=True)
    assert attentions(shard.ready.network) == {FULL}


@torch.inference_mode()
def test_it_is_our_kernel_that_is_proven(seen: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where pictures have few tokens."""
    network, pixels = seen
    known = network.encode_images(pixels)
    calls: list[float] = []

    def count(*parts: Tensor, scale: float) -> Tensor:
        calls.append(scale)
        return full_attention(*parts, scale=scale)

    monkeypatch.setattr(encoder_attention, "full_attention", count)
    assert quicken_attention(network, pixels, known)
    assert calls and attentions(network) == {FULL}


@torch.inference_mode()
@pytest.mark.parametrize("fault", ["other numbers", "a crash"])
def test_an_encoder_that_makes_something_else_keeps_its_own(
    seen: Sample, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    network, pixels = seen
    known = network.encode_images(pixels)

    def attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
        if fault == "a crash":
            raise ValueError
        return query.transpose(1, 2) * 3

    monkeypatch.setattr(encoder_attention, "full_attention", attend)
    assert not quicken_attention(network, pixels, known)
    assert attentions(network) == {"sdpa"}
    assert torch.equal(network.encode_images(pixels), known)


def test_an_attention_that_was_chosen_is_left_alone(seen: Sample) -> None:
    network, pixels = seen
    vision: Any = network.model.model
    vision.vision_tower.set_attn_implementation("eager")
    with torch.inference_mode():
        assert not quicken_attention(network, pixels, network.encode_images(pixels))
    assert attentions(network) == {"eager"}


def test_hidden_states_are_laid_out_once(seen: Sample) -> None:
    """Column by column is how they come, row by row how every layer finds them."""
    network, pixels = seen
    strides: list[tuple[int, ...]] = []
    layers: Any = next(m for m in outside(network) if isinstance(m, nn.ModuleList))
    quicken_layers(network)
    handle = layers[0].register_forward_pre_hook(
        lambda layer, arguments: strides.append(arguments[0].stride())
    )
    turned = torch.zeros(1, layers[0].mlp.fc1.in_features, 5).transpose(1, 2)
    assert fast_encoder._row_by_row(turned).is_contiguous()
    with torch.inference_mode():
        network.encode_images(pixels)
        layers[0](turned, None)
    handle.remove()
    assert strides and all(stride[-1] == 1 for stride in strides)
    mask = torch.ones(1, 1, 5, 1).expand(-1, -1, -1, 5)
    assert fast_encoder._row_by_row(mask) is mask
