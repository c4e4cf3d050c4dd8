"""Which models are refused at start-up, and with which words."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from driver import Driver
from families.listing import classes
from families.making import make_folder
from families.recipes import Recipe
from local_shard import start_shard
from tiny_models import TEXT, make_tiny, make_tokenizer
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers_reference import Reference

from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import auto_class, check, max_positions, read_config
from inlay_shard.model.loading import quiet
from inlay_shard.proofs.probe import check_equal


def refused(folder: Path, **changes: Any) -> str:
    """Why a configuration with these changes is refused."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelRefused) as caught:
        check(read_config(folder), 1)
    return str(caught.value)


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="it has no config.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelRefused, match="no weights in the safetensors format"):
        read_config(tmp_path)


def test_configurations_that_cannot_be_served(tmp_path: Path) -> None:
    folder = make_tiny("qwen2", tmp_path)
    layers = ["full_attention", "indexed_attention"]
    assert "indexed_attention" in refused(folder, layer_types=layers)
    layers = ["full_attention", "full_attention"]
    assert "encoder-decoder" in refused(folder, layer_types=layers, is_encoder_decoder=True)


def test_unknown_type_is_refused(tmp_path: Path) -> None:
    path = make_tiny("llama", tmp_path) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "unheard_of"}))
    with pytest.raises(ModelRefused, match="its config.json cannot be used"):
        read_config(tmp_path)


def test_model_that_does_not_generate_is_refused(tmp_path: Path) -> None:
    path = make_tiny("llama", tmp_path) / "config.json"
    path.write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelRefused, match="no decoder of text for models of type vit"):
        auto_class(read_config(tmp_path))


def test_states_that_are_not_in_the_cache_are_refused(tmp_path: Path) -> None:
    with quiet():
        make_folder(*classes("recurrent_gemma"), Recipe(), tmp_path)
        with pytest.raises(ModelRefused, match="2 of its layers are recurrent and 0 modules keep"):
            start_shard(tmp_path)


def test_recurrent_layers_are_not_split(tmp_path: Path) -> None:
    path = make_tiny("qwen2", tmp_path) / "config.json"
    kinds = {"layer_types": ["full_attention", "linear_attention"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | kinds))
    with pytest.raises(ModelRefused, match="recurrent layers, which are not split"):
        check(read_config(tmp_path), 2)


@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_sliding_windows_and_caps_equal_generate(tmp_path: Path, family: str) -> None:
    """A window shorter than the prompt, and capped scores, through the whole engine."""
    kinds: dict[str, Any] = {
        "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": 7}),
        "gemma2": (
            Gemma2Config,
            Gemma2ForCausalLM,
            {"sliding_window": 7, "head_dim": 16, "attn_logit_softcapping": 2.0},
        ),
    }
    make_config, make_model, settings = kinds[family]
    torch.manual_seed(1)
    model = make_model(make_config(**(TEXT | settings)))
    model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    driver = Driver(start_shard(tmp_path), chunk=16)
    prompt = list(range(30, 70))
    running = driver.add(prompt)
    driver.run()
    assert running.output_ids == Reference(tmp_path).generate(prompt)


def test_batch_dependent_positions_end_at_the_trained_length(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    folder = make_tiny("llama", tmp_path, rope_parameters=rope)
    assert max_positions(read_config(folder)) == 1024


def test_logits_that_differ_are_refused() -> None:
    logits = torch.randn(4, 9)
    check_equal(logits, logits + 1e-6, torch.float32)
    with pytest.raises(ModelRefused, match="does not compute what transformers computes"):
        check_equal(logits, logits + 0.1, torch.float32)
    with pytest.raises(ModelRefused, match="does not compute"):
        check_equal(logits, logits * float("nan"), torch.bfloat16)
