"""Weights are all there, in safetensors, or the model is refused in words."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import make_tiny

from inlay_shard.config import ShardConfig
from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import read_config
from inlay_shard.model.loading import load
from inlay_shard.model.network import Network

CPU = torch.device("cpu")
CODE = "from pathlib import Path\nPath(__file__).with_name('it-ran').touch()\n"


def loaded(folder: Path) -> Network:
    config = ShardConfig(model=folder, model_id="tiny", address="unix:/nowhere", dtype="float32")
    return load(config, CPU, report=lambda words: None)


def refusal(folder: Path) -> str:
    with pytest.raises(ModelRefused) as caught:
        loaded(folder)
    return str(caught.value)


def leave_out(folder: Path, part: str) -> int:
    """Write the weights again without those whose name contains `part`; how many these are."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    kept = {name: weight for name, weight in weights.items() if part not in name}
    save_file(kept, path, metadata={"format": "pt"})
    return len(weights) - len(kept)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path)
    assert leave_out(folder, "layers.1.self_attn.q_proj") == 1
    words = refusal(folder)
    assert words == ("its folder lacks 1 of its 21 weights: model.layers.1.self_attn.q_proj.weight")


def test_of_many_missing_weights_some_are_named(tmp_path: Path) -> None:
    folder = make_tiny("llava", tmp_path)
    num_missing = leave_out(folder, "vision_tower")
    words = refusal(folder)
    assert f"lacks {num_missing} of its " in words
    assert words.count("vision_tower") == 5
    assert words.endswith(", …")


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    folder = make_tiny("qwen2", tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert loaded(folder).config.tie_word_embeddings


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = make_tiny("llama", tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(tmp_path).startswith("its weights cannot be read: ")


def test_a_file_that_the_index_names_and_nobody_brought_is_refused(tmp_path: Path) -> None:
    folder = make_tiny("llama", tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    files = {name: f"model-0000{1 + (name == 'lm_head.weight')}-of-00002" for name in weights}
    weight_map = {name: f"{file}.safetensors" for name, file in files.items()}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors" in refusal(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    folder = make_tiny("llama", tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    words = refusal(folder)
    assert "has no weights in the safetensors format" in words
    assert "pickles (.bin, .pt, .pth) can run code" in words


def test_code_in_the_folder_is_refused_and_never_runs(tmp_path: Path) -> None:
    path = make_tiny("llama", tmp_path) / "config.json"
    config = json.loads(path.read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "custom.CustomConfig"}}
    path.write_text(json.dumps(config))
    (tmp_path / "custom.py").write_text(CODE)
    with pytest.raises(ModelRefused, match="it needs code from its own folder, which is never run"):
        read_config(tmp_path)
    assert not (tmp_path / "it-ran").exists()
