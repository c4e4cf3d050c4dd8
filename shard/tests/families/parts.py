"""Parts of configurations that several families have."""

from families.tokens import IDS

MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
CLIP = {
    "patch_size": 8,
    "vision_feature_select_strategy": "default",
    "num_additional_image_tokens": 1,
}
PINPOINTS = {"image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]]}
TEXT_MROPE = {"text_config": {"rope_parameters": MROPE}}
TEXT_GLM_MROPE = {"text_config": {"rope_parameters": MROPE | {"partial_rotary_factor": 1.0}}}

VISION_ENDS = {
    "vision_start_token_id": IDS["<|vision_start|>"],
    "vision_end_token_id": IDS["<|vision_end|>"],
}
ALL_HEADS = {"num_key_value_heads": 4}
SLICES = {
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
SHARING = {
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 384,
}
"""Layers that share keys, and inputs for each of them."""
VISION_CODES = {
    "embed_dim": 4,
    "latent_channels": 4,
    "base_channels": 32,
    "channel_multiplier": [1, 1, 1, 1],
    "num_res_blocks": 1,
}
MUSE = {"out_hidden_size": 128, "projector_hidden_size": 64}
