"""The proof that images reach the text tower, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families.listing import classes
from families.making import make_folder
from families.recipes import RECIPES
from torch import Tensor

from inlay_shard.errors import ModelRefused
from inlay_shard.images.preparation import Prepared
from inlay_shard.model.architecture import auto_class, read_config
from inlay_shard.model.loading import quiet
from inlay_shard.model.network import Network
from inlay_shard.model.view import View, widest
from inlay_shard.proofs.image_probe import prove_images
from inlay_shard.proofs.sample import sample

Tiny = tuple[Network, Prepared]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """Makes a model and a prompt with pictures, once for each type."""
    made: dict[str, Tiny] = {}

    def make(model_type: str) -> Tiny:
        if model_type not in made:
            folder: Path = tmp_path_factory.mktemp("models") / model_type
            with quiet():
                make_folder(*classes(model_type), RECIPES[model_type], folder)
                model: Any = auto_class(read_config(folder)).from_pretrained(folder)
                made[model_type] = Network(model.eval()), sample(folder)
        return made[model_type]

    return make


@pytest.mark.parametrize(
    ("model_type", "view"),
    [
        ("llava", View.CAUSAL),
        ("qwen3_vl", View.CAUSAL),
        ("gemma3", View.IMAGE),
        ("paligemma", View.PROMPT),
    ],
)
def test_views_are_found(tiny: Callable[[str], Tiny], model_type: str, view: View) -> None:
    assert widest(prove_images(*tiny(model_type)).views) is view


def test_images_are_embedded_once(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prepared = tiny("llava")
    encoder: Any = network.model.model
    passes: list[int] = []
    handle = encoder.vision_tower.register_forward_hook(lambda *_: passes.append(1))
    prove_images(network, prepared)
    handle.remove()
    assert len(passes) == 1


def test_images_in_the_wrong_place_are_refused(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prepared = tiny("llava")
    embed = network.embed

    def misplace(token_ids: Tensor, places: Tensor, features: Tensor) -> Tensor:
        return embed(token_ids, places, features.flip(0))

    monkeypatch.setattr(network, "embed", misplace)
    with pytest.raises(ModelRefused, match="puts images into the text in a way"):
        prove_images(network, prepared)


def test_other_positions_are_refused(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prepared = tiny("qwen3_vl")
    monkeypatch.setattr(network, "image_positions", lambda *_: None)
    with pytest.raises(ModelRefused, match="numbers the tokens of images"):
        prove_images(network, prepared)


def test_what_is_added_behind_layers_is_not_forgotten(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prepared = tiny("qwen3_vl")
    encode = network.encode_images

    def forget(pixels: dict[str, Tensor]) -> Tensor:
        return encode(pixels)[:, : network.hidden_size]

    monkeypatch.setattr(network, "encode_images", forget)
    with pytest.raises(ModelRefused, match="puts images into the text"):
        prove_images(network, prepared)


def test_too_few_embeddings_are_refused(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prepared = tiny("llava")
    monkeypatch.setattr(network, "encode_images", lambda pixels: torch.zeros(3, 64))
    with pytest.raises(ModelRefused, match="makes 3 embeddings for 32 places"):
        prove_images(network, prepared)
