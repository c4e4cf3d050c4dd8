"""Families of models on inlay, each a tiny random model held against `generate`.

The whole list is tried by `make families`; here are those that differ in what they ask of inlay.
"""

import pytest
from families.listing import BESIDE_EXTRAS, vision_language
from families.recipes import RECIPES
from families.table import line, page, read
from families.trial import Trial, try_family

SEEING = {
    "llava": "one picture size",
    "llava_next": "tiles, newlines between rows",
    "llava_onevision": "tiles, or one picture each",
    "idefics2": "a perceiver",
    "smolvlm": "tiles between words",
    "internvl": "placeholders of another name",
    "mistral3": "row breaks, any size",
    "aya_vision": "sliding windows without positions",
    "qwen2_vl": "three axes of positions",
    "qwen2_5_vl": "windows in the encoder",
    "qwen3_vl": "images added behind layers",
    "qwen3_vl_moe": "the same, with experts",
    "glm4v": "positions on three axes, another rotation",
    "gemma3": "images seen in both directions, sliding windows",
    "gemma4": "the same in some layers alone; layers that share keys, and inputs for each layer",
    "paligemma": "prompts seen in both directions",
    "granite_docling": "an embedding a tile",
    "granite4_vision": "images added in front of layers of its choice, and nowhere else",
    "hunyuan_vl": "positions on four axes, tokens demanded around images",
    "cohere_compass": "images added behind layers that slide",
}
"""Families that take images, and what is particular to them."""
TEXT = {
    "gpt2": "learned positions",
    "mistral": "a sliding window",
    "gemma2": "capped scores",
    "gpt_oss": "sinks",
    "deepseek_v3": "keys and values that differ in size",
    "llama4_text": "chunked attention",
    "phi3": "projections in one",
    "olmoe": "experts",
    "cohere": "layers side by side",
    "stablelm": "partial rotation",
    "gemma3n_text": "layers that share keys, several streams of hidden states",
    "modernbert-decoder": "a head with a decoder of its own",
    "jamba": "state spaces beside attention",
    "qwen3_next": "a delta rule beside attention",
}
"""Families of text alone."""
REFUSED = {
    "rwkv": "attention heads",
    "recurrent_gemma": "0 modules keep a state in the cache",
    "bloom": "interface",
    "mllama": "cross-attention",
    "t5gemma2": "encoder-decoder",
    "ernie4_5_vl_moe": "hands moe_mm_token_type_ids to its text tower",
    "blip-2": "an adapter can say how its images are prepared",
    "diffusion_gemma": "does not answer by one token after the other",
    "qwen4_exp": "indexed_attention",
}
"""Families that are refused, and a part of the sentence."""


@pytest.mark.parametrize("model_type", SEEING)
def test_families_that_take_images_equal_generate(model_type: str) -> None:
    trial = try_family(model_type)
    assert trial.one_image and trial.several_images and trial.cached and trial.batch, trial
    assert not trial.is_wrong, trial


def test_images_before_layers_that_keep_states_are_seen_without_cached_blocks() -> None:
    trial = try_family("lfm3_vl")
    assert trial.one_image and trial.several_images and trial.batch and trial.chunks, trial
    assert trial.cached is None, trial


@pytest.mark.parametrize("model_type", TEXT)
def test_text_families_equal_generate(model_type: str) -> None:
    trial = try_family(model_type)
    assert trial.text and trial.batch and trial.chunks, trial


@pytest.mark.parametrize("model_type", REFUSED)
def test_families_that_are_refused(model_type: str) -> None:
    trial = try_family(model_type)
    assert trial.loads is False, trial
    assert REFUSED[model_type] in trial.reason
    assert f"model type {model_type}" in trial.reason


def test_a_page_says_what_came_of_each_family() -> None:
    good = Trial(model_type="llava", loads=True, text=True, one_image=True, batch=True)
    wrong = Trial(model_type="gpt2", loads=True, text=False, batch=True)
    refused = Trial(model_type="rwkv", loads=False, reason="no attention")
    text = page([good], [wrong, refused])
    assert "1 model types; 1 are served, 1 of them with images here." in text
    assert "| rwkv | refused |  |  |  |  |  |  |  | no attention |" in text
    assert "| gpt2 | yes | **no** |" in text
    assert wrong.is_wrong and not good.is_wrong and not refused.is_wrong
    assert "WRONG: text" in line(wrong)


def test_a_page_is_read_again() -> None:
    trials = [
        Trial(model_type="llava", loads=True, text=True, one_image=True, batch=False),
        Trial(model_type="rwkv", loads=False, reason="no attention"),
        Trial(model_type="gemma3n", reason="it needs timm, which is not here"),
    ]
    assert list(read(page(trials, [])).values()) == trials


def test_families_beside_extras_exist() -> None:
    assert set(BESIDE_EXTRAS) <= set(vision_language())


def test_recipes_are_of_families_that_exist() -> None:
    assert {"llava", "gemma3", "qwen3_vl"} <= RECIPES.keys() & set(vision_language())
