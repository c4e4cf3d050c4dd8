"""The way past a model's wrappers: taken where it is proven, and not where it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_tiny
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from inlay_shard.config import ShardConfig
from inlay_shard.images.features import FeatureCache
from inlay_shard.model.network import Network
from inlay_shard.startup import start
from inlay_shard.tower.shortcut import Shortcut


def network_of(folder: Path, **options: Any) -> Network:
    """The network of a shard that was started with a model folder."""
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"dtype": "float32", "device": "cpu", "num_blocks": 8} | options
    config = ShardConfig(model=folder, model_id="tiny", address="", **settings)
    return start(config, FeatureCache(1 << 20), lambda: False, lambda words: None).network


def test_a_compiled_tower_with_a_plain_head_takes_it(tmp_path: Path) -> None:
    network = network_of(make_tiny("llama", tmp_path / "llama"))
    assert isinstance(network.shortcut, Shortcut)


def test_int8_takes_it_too(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path / "llama")
    assert isinstance(network_of(folder, quantize="int8").shortcut, Shortcut)


def test_a_tower_that_is_not_compiled_does_not(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path / "llama", hidden_act="relu")
    assert network_of(folder).shortcut is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda logits: logits * 2, id="scaled"),
        pytest.param(
            lambda logits: 50 * torch.tanh(logits / 50), id="capped, which small ones hide"
        ),
    ],
)
def test_a_model_that_does_more_to_its_logits_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    own = LlamaForCausalLM.forward

    def forward(self: Any, *arguments: Any, **named: Any) -> Any:
        answer = own(self, *arguments, **named)
        answer.logits = change(answer.logits)
        return answer

    folder = make_tiny("llama", tmp_path / "llama")
    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    assert network_of(folder).shortcut is None


def test_hidden_states_are_kept_by_the_whole_model(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path / "llama")
    network = Network(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
    network.shortcut = lambda *arguments: torch.zeros(1)
    batch = torch.arange(5), torch.arange(5).unsqueeze(0), torch.tensor([4])
    with torch.inference_mode(), network.keeping_hidden() as hidden:
        logits = network.logits(*batch)
    assert logits.shape[0] == 1 and len(hidden[0]) == 5
    assert torch.equal(network.logits(*batch), torch.zeros(1))
