"""What is particular to a family when a tiny model of it is made."""

from dataclasses import dataclass, field
from typing import Any

from families.parts import (
    ALL_HEADS,
    CLIP,
    MROPE,
    MUSE,
    PINPOINTS,
    SHARING,
    SLICES,
    TEXT_GLM_MROPE,
    TEXT_MROPE,
    VISION_CODES,
    VISION_ENDS,
)
from families.tokens import IDS


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Changes to what holds for every family."""

    config: dict[str, Any] = field(default_factory=dict)
    """Arguments of the configuration; those of a part in a dictionary of its name."""
    placeholder: str = "<image>"
    """Token that stands for images in the ids that the model sees."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Attributes of the tokenizer."""
    processor: dict[str, Any] = field(default_factory=dict)
    """Arguments of the processor."""
    processor_name: str = ""
    """Class of the processor, where the library names none for the type."""
    image_processor: dict[str, Any] = field(default_factory=dict)
    """Arguments of the image processor."""
    image_processor_type: str = ""
    """Model type whose image processor is taken, where the library names none."""
    blind: tuple[str, ...] = ()
    """Parameters that start as zeros and would hide images."""

    def is_blind(self, parameter: str) -> bool:
        """Whether a parameter needs random numbers."""
        return any(name in parameter for name in self.blind)


RECIPES: dict[str, Recipe] = {
    "chameleon": Recipe(
        config={
            "vq_config": VISION_CODES
            | {"num_embeddings": 8, "resolution": 32, "channel_multiplier": [1, 1, 1]},
            "vocabulary_map": {"<image>": IDS["<image>"]}
            | {f"IMGIMG{letter}Z": 300 + place for place, letter in enumerate("ABCDEFGH")},
        },
        processor={"image_seq_length": 64},
    ),
    "hunyuan_vl": Recipe(
        config={
            "text_config": {
                "rope_parameters": MROPE | {"mrope_section": [2, 2, 2, 2]},
                "num_key_value_heads": 2,
            },
            "vision_config": {"out_hidden_size": 64, "text_hidden_size": 64},
        }
    ),
    "emu3": Recipe(
        config={
            "vq_config": VISION_CODES | {"codebook_size": 8},
            "vocabulary_map": {"<image>": IDS["<image>"], "<|extra_200|>": IDS["<line>"]}
            | {f"<|visual token {code:06}|>": 300 + code for code in range(8)},
        },
        image_processor={"min_pixels": 32 * 32, "max_pixels": 64 * 64},
    ),
    "granite4_vision": Recipe(
        config=PINPOINTS
        | {
            "downsample_rate": "1/2",
            "deepstack_layer_map": [[-1, 0]],
            "spatial_target_layers": [1, 1, 1, 1],
            "vision_config": {"hidden_size": 64},
            "qformer_config": {"model_type": "blip_2_qformer", "encoder_hidden_size": 64},
        },
        processor=CLIP | {"downsample_rate": "1/2"},
    ),
    "aria": Recipe(
        config={
            "vision_config": {"image_size": 980, "patch_size": 140},
            "projector_patch_to_query_dict": {"49": 4},
        },
        processor={"size_conversion": {"980": 4}},
    ),
    "aya_vision": Recipe(
        config={"downsample_factor": 2, "vision_feature_layer": -1},
        placeholder="<|IMG_PATCH|>",
        processor={"patch_size": 8, "img_size": 32, "downsample_factor": 2},
    ),
    "blip-2": Recipe(config={"num_query_tokens": 4}, processor={"num_query_tokens": 4}),
    "cohere2_vision": Recipe(
        config={"alignment_intermediate_size": 64}, image_processor={"patch_size": 2}
    ),
    "cohere_compass": Recipe(
        config={
            "text_config": {
                "rope_parameters": {"full_attention": MROPE, "sliding_attention": MROPE}
            },
            "vision_config": {"deepstack_visual_indexes": [0]},
        },
        placeholder="<|IMAGE_PAD|>",
        tokens={"image_token": "<|IMAGE_PAD|>"},
    ),
    "cosmos3_edge": Recipe(config=TEXT_MROPE),
    "deepseek_ocr2": Recipe(
        config={
            "text_config": {"mlp_layer_types": ["dense", "sparse"]},
            "vision_config": {
                "sam_config": {
                    "downsample_channels": [32, 32],
                    "image_size": 1024,
                    "patch_size": 16,
                }
            },
        },
        image_processor={"size": {"height": 1024, "width": 1024}, "patch_size": 16},
    ),
    "deepseek_vl": Recipe(processor={"num_image_tokens": 16}),
    "deepseek_vl_hybrid": Recipe(
        config={"high_res_vision_config": {"image_size": 64, "global_attn_indexes": [0, 1]}},
        processor={"num_image_tokens": 16},
        image_processor={"high_res_size": {"height": 64, "width": 64}},
    ),
    "ernie4_5_vl_moe": Recipe(
        config={"text_config": {"moe_intermediate_size": [32, 32], "rope_parameters": MROPE}}
    ),
    "gemma3": Recipe(
        config={"mm_tokens_per_image": 4},
        processor={"image_seq_length": 4},
        blind=("mm_input_projection_weight",),
    ),
    "glm4v": Recipe(config=TEXT_GLM_MROPE),
    "glm4v_moe": Recipe(config=TEXT_GLM_MROPE, image_processor_type="glm4v"),
    "glm46v": Recipe(config=TEXT_GLM_MROPE),
    "glmga": Recipe(config=TEXT_GLM_MROPE, processor_name="Glm46VProcessor"),
    "glm_ocr": Recipe(
        config=TEXT_GLM_MROPE, processor_name="Glm46VProcessor", image_processor_type="glm46v"
    ),
    "glm5_next": Recipe(config={"text_config": {"num_key_value_heads": 4}}),
    "gemma4": Recipe(
        config={
            "audio_config": None,
            "vision_config": {"position_embedding_size": 512},
            "text_config": {
                "use_bidirectional_attention": "vision",
                "sliding_window": 72,
                **SHARING,
            },
        },
        image_processor={"max_soft_tokens": 70},
    ),
    "gemma4_text": Recipe(config=SHARING),
    "gemma4_unified": Recipe(
        config={"audio_config": None, "text_config": {"sliding_window": 72}},
        image_processor={"max_soft_tokens": 70},
    ),
    "gemma3n_text": Recipe(config=SHARING | {"laurel_rank": 8}),
    "gemma3n": Recipe(
        config={
            "audio_config": None,
            "text_config": SHARING
            | {"laurel_rank": 8, "vocab_size_per_layer_input": IDS["<image>"]},
            "vision_config": {"architecture": "test_resnet", "hidden_size": 96},
            "vision_soft_tokens_per_image": 1,
        },
        processor={"image_seq_length": 1},
    ),
    "got_ocr2": Recipe(
        config={"vision_config": {"image_size": 1024, "patch_size": 16}},
        placeholder="<imgpad>",
        image_processor={"size": {"height": 1024, "width": 1024}},
    ),
    "granite_docling": Recipe(processor={"image_seq_len": 1}),
    "idefics2": Recipe(
        config={"perceiver_config": {"resampler_n_latents": 4, "resampler_depth": 1}},
        processor={"image_seq_len": 4},
    ),
    "idefics3": Recipe(config={"scale_factor": 2}, processor={"image_seq_len": 4}),
    "internvl": Recipe(placeholder="<IMG_CONTEXT>", processor={"image_seq_length": 4}),
    "janus": Recipe(
        config={"vision_config": {"projection_dim": 64}}, processor={"num_image_tokens": 16}
    ),
    "kimi_k25": Recipe(config={"text_config": ALL_HEADS, "projection_hidden_size": 32}),
    "lfm2": Recipe(config={"layer_types": ["conv", "full_attention"]}),
    "lfm2_moe": Recipe(config={"layer_types": ["conv", "full_attention"]}),
    "lfm2_vl": Recipe(
        config={"text_config": {"layer_types": ["conv", "full_attention"]}},
        image_processor={
            "encoder_patch_size": 8,
            "tile_size": 32,
            "min_image_tokens": 4,
            "max_image_tokens": 16,
        },
    ),
    "minicpm_ocr": Recipe(tokens=SLICES),
    "minicpmv4_6": Recipe(tokens=SLICES),
    "minicpmv4_7": Recipe(tokens=SLICES),
    "lighton_ocr": Recipe(
        config={"spatial_merge_size": 2}, processor={"patch_size": 8, "spatial_merge_size": 2}
    ),
    "llava": Recipe(processor=CLIP),
    "llava_next": Recipe(config=PINPOINTS, processor=CLIP),
    "llava_next_video": Recipe(config=PINPOINTS, processor=CLIP),
    "llava_onevision": Recipe(
        config=PINPOINTS,
        processor={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    ),
    "mistral3": Recipe(
        config={"spatial_merge_size": 2},
        placeholder="[IMG]",
        processor={"patch_size": 8, "spatial_merge_size": 2},
    ),
    "mistral4": Recipe(config=ALL_HEADS),
    "bamba": Recipe(config={"attn_layer_indices": [1], "mamba_d_head": 16, "mamba_n_heads": 8}),
    "falcon_h1": Recipe(config={"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16}),
    "granitemoehybrid": Recipe(
        config={
            "layer_types": ["linear_attention", "full_attention"],
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
        }
    ),
    "inkling2": Recipe(config={"vision_config": {"text_hidden_size": 64}}),
    "jamba": Recipe(config={"attn_layer_period": 2, "attn_layer_offset": 1}),
    "mamba2": Recipe(config={"num_heads": 8, "head_dim": 16, "n_groups": 1}),
    "nemotron_h_omni": Recipe(config={"text_config": {"model_type": "nemotron_h"}}),
    "zaya": Recipe(config={"num_experts_per_tok": 1}),
    "kimi_linear": Recipe(config=ALL_HEADS),
    "bailing_hybrid": Recipe(config=ALL_HEADS),
    "deepseek_v2": Recipe(config=ALL_HEADS),
    "deepseek_v3": Recipe(config=ALL_HEADS),
    "glm4_moe_lite": Recipe(config=ALL_HEADS),
    "minimax_m3_vl": Recipe(placeholder="]<]image[>["),
    "minicpm3": Recipe(config=ALL_HEADS),
    "youtu": Recipe(config=ALL_HEADS),
    "muse_glimmer": Recipe(config=MUSE, placeholder="<|patch|>"),
    "muse_spark": Recipe(
        config=MUSE | {"audio_config": {"out_hidden_size": 64, "num_hidden_layers": 4}},
    ),
    "perception_lm": Recipe(
        config={
            "text_config": {"model_type": "llama"},
            "vision_config": {
                "model_type": "timm_wrapper",
                "architecture": "test_vit",
                "model_args": {"embed_dim": 64, "img_size": [32, 32]},
                "do_pooling": False,
            },
        },
        processor={"patch_size": 16, "pooling_ratio": 1},
        image_processor={"tile_size": 32, "vision_input_type": "vanilla"},
    ),
    "molmo2": Recipe(
        config={
            "vision_config": {"image_size": [32, 32]},
            "adapter_config": {"vision_feature_layer": [1, 0], "text_hidden_size": 64},
            "image_patch_id": IDS["<im_patch>"],
        },
        image_processor={"overlap_margins": [0, 0]},
        placeholder="<im_patch>",
    ),
    "llama4": Recipe(
        placeholder="<|patch|>",
        processor={"patch_size": 8},
        config={
            "vision_config": {
                "intermediate_size": 128,
                "vision_output_dim": 32,
                "projector_input_dim": 32,
                "projector_output_dim": 32,
            }
        },
    ),
    "ovis2": Recipe(placeholder="<IMG_ATOM>", processor={"image_seq_length": 16}),
    "paddleocr_vl": Recipe(config=TEXT_MROPE),
    "paligemma": Recipe(
        config={"text_config": {"vocab_size": 2048}, "projection_dim": 64},
        image_processor={"image_seq_length": 16},
    ),
    "qianfan_ocr": Recipe(placeholder="<IMG_CONTEXT>", processor={"image_seq_length": 4}),
    "qwen2_vl": Recipe(config=TEXT_MROPE | {"vision_config": {"hidden_size": 64}}),
    "qwen2_5_vl": Recipe(config=TEXT_MROPE),
    "qwen2_5_omni_thinker": Recipe(config=TEXT_MROPE | VISION_ENDS),
    "qwen3_omni_moe_thinker": Recipe(config=TEXT_MROPE | VISION_ENDS),
    "qwen3_vl": Recipe(config=TEXT_MROPE | {"vision_config": {"deepstack_visual_indexes": [0]}}),
    "qwen3_vl_moe": Recipe(
        config=TEXT_MROPE | {"vision_config": {"deepstack_visual_indexes": [0]}},
        image_processor_type="qwen3_vl",
    ),
    "video_llava": Recipe(processor=CLIP),
    "step3p7": Recipe(
        placeholder="<im_patch>",
        image_processor={"vision_patch_size": 8, "patch_size": 32},
        config={
            "text_config": {
                "sliding_window": 16,
                "layer_types": ["full_attention", "sliding_attention"],
            }
        },
    ),
    "smolvlm": Recipe(config={"scale_factor": 2}, processor={"image_seq_len": 4}),
    "vipllava": Recipe(config={"vision_feature_layers": [-1, -2]}, processor=CLIP),
}
"""By model type; a family that is not here needs nothing."""
