"""Which model types are tried: all that see, and the text families that people serve."""

from typing import Any

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
)

TEXT = (
    *("afmoe", "apertus", "arcee", "bailing_hybrid", "bamba", "biogpt", "bitnet", "bloom"),
    *("codegen", "cohere", "cohere2", "ctrl", "deepseek_v2", "deepseek_v3", "deepseek_v32", "doge"),
    *("ernie4_5", "exaone4", "falcon", "falcon_h1", "falcon_mamba", "flex_olmo", "gemma", "gemma2"),
    *("gemma3_text", "gemma3n_text", "gemma4_text", "glm", "glm4", "glm4_moe", "glm4_moe_lite"),
    *("gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe"),
    *("granitemoehybrid", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "internlm3", "jamba"),
    *("jetmoe", "kimi_linear", "lfm2", "lfm2_moe", "lfm3", "llama", "llama4_text", "mamba"),
    *("mamba2", "mimo_v2_flash", "minicpm3", "minimax", "minimax_m2", "ministral", "mistral"),
    *("mixtral", "modernbert-decoder", "nanochat", "nemotron", "nemotron_h", "olmo", "olmo2"),
    *("olmo3", "olmo_hybrid", "olmoe", "opt", "persimmon", "phi", "phi3", "phi4_multimodal"),
    *("phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe"),
    *("qwen3_next", "recurrent_gemma", "rwkv", "seed_oss", "smollm3", "solar_open", "stablelm"),
    *("starcoder2", "xglm", "xlstm", "youtu", "zaya"),
)
"""Model types that `AutoModelForCausalLM` loads; those that people serve, and some to refuse."""

BESIDE_EXTRAS = (
    *("cohere2_vision", "gemma3n", "gemma4_unified", "inkling_mm_model", "kimi_k25", "llama4"),
    *("lfm2_vl", "minicpm_ocr", "minicpmv4_6", "minicpmv4_7", "minimax_m3_vl", "molmo2"),
    *("muse_glimmer", "muse_spark", "nemotron_h_omni", "perception_lm", "step3p7"),
)
"""Model types whose images need torchvision, or whose encoder needs timm or scipy."""


def vision_language() -> list[str]:
    """Every model type that `AutoModelForImageTextToText` loads."""
    return [config_class.model_type for config_class in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING]


def classes(model_type: str) -> tuple[Any, Any]:
    """Configuration class and model class of a type."""
    for mapping in (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING):
        for config_class in mapping:
            if config_class.model_type == model_type:
                found = mapping[config_class]
                return config_class, found[0] if isinstance(found, tuple) else found
    raise KeyError(model_type)
