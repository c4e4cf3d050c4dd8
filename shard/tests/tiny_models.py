"""Tiny random models of several families, saved as folders that any Auto class loads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    CLIPImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

SPECIAL = (
    "<pad>",
    "<end>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCAB_SIZE = 320
SEED = 20
IDS = {token: token_id for token_id, token in enumerate(SPECIAL)}

TEXT: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": IDS["<end>"],
    "pad_token_id": IDS["<pad>"],
    "tie_word_embeddings": False,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "initializer_range": 0.2,
}


def make_tiny(family: str, folder: Path, **text: Any) -> Path:
    """Save a random model of a family ("llama", "qwen2", "llava", "idefics3", "qwen2_vl").

    Args:
        family: one of FAMILIES.
        folder: where to save; made if it is not there.
        text: changes to the configuration of the text tower.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    FAMILIES[family](folder, TEXT | text)
    return folder


def make_tokenizer(image_token: str = "<image>") -> PreTrainedTokenizerFast:
    """Byte-level, without merges: any text, one token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: token_id for token_id, token in enumerate((*SPECIAL, *alphabet))}
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    wrap: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = wrap(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<end>",
        extra_special_tokens={
            "image_token": image_token,
            "video_token": "<|video_pad|>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "vision_start_token": "<|vision_start|>",
            "vision_end_token": "<|vision_end|>",
        },
    )
    return tokenizer


def _save(model: Any, folder: Path) -> None:
    model.generation_config.bos_token_id = None
    model.generation_config.eos_token_id = IDS["<end>"]
    model.generation_config.pad_token_id = IDS["<pad>"]
    model.save_pretrained(folder)


def _llama(folder: Path, text: dict[str, Any]) -> None:
    _save(LlamaForCausalLM(LlamaConfig(**text)), folder)
    make_tokenizer().save_pretrained(folder)


def _qwen2(folder: Path, text: dict[str, Any]) -> None:
    _save(Qwen2ForCausalLM(Qwen2Config(**text)), folder)
    make_tokenizer().save_pretrained(folder)


def _llava(folder: Path, text: dict[str, Any]) -> None:
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32} | VISION,
        text_config={"model_type": "llama"} | text,
        image_token_index=IDS["<image>"],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    _save(LlavaForConditionalGeneration(config), folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=make_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


def _idefics3(folder: Path, text: dict[str, Any]) -> None:
    config = Idefics3Config(
        vision_config=VISION,
        text_config={"model_type": "llama"} | text,
        scale_factor=2,
        image_token_id=IDS["<image>"],
        tie_word_embeddings=False,
    )
    _save(Idefics3ForConditionalGeneration(config), folder)
    Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        ),
        tokenizer=make_tokenizer(),
        image_seq_len=4,
    ).save_pretrained(folder)


def _qwen2_vl(folder: Path, text: dict[str, Any]) -> None:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": text["hidden_size"],
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "initializer_range": 0.2,
        },
        text_config=text | {"rope_parameters": rope},
        image_token_id=IDS["<|image_pad|>"],
        video_token_id=IDS["<|video_pad|>"],
        vision_start_token_id=IDS["<|vision_start|>"],
        vision_end_token_id=IDS["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    _save(Qwen2VLForConditionalGeneration(config), folder)
    make_tokenizer("<|image_pad|>").save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}, patch_size=8
    ).save_pretrained(folder)


FAMILIES: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "llava": _llava,
    "idefics3": _idefics3,
    "qwen2_vl": _qwen2_vl,
}
"""How each family is made."""
TAKE_IMAGES = ("llava", "idefics3", "qwen2_vl")
"""Families that take images."""
