"""Converts a Llama or Qwen2 model folder to llama.cpp's form, its matrices bit for bit."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from inlay_bench.adapters.safetensors_file import tensors, widen

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def convert(source: Path, target: Path) -> None:
    """Writes `target`. The vocabulary stays behind: prompts go in as token ids."""
    config = json.loads((source / "config.json").read_text())
    writer = GGUFWriter(target, config["model_type"])
    add_sizes(writer, config)
    for name, bits in tensors(source / "model.safetensors"):
        if bits.ndim == 1:
            writer.add_tensor(gguf_name(name), widen(bits))
            continue
        matrix = np.ascontiguousarray(rearranged(name, bits, config))
        writer.add_tensor(
            gguf_name(name), matrix.view(np.uint8), raw_dtype=GGMLQuantizationType.BF16
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_sizes(writer: GGUFWriter, config: dict[str, Any]) -> None:
    """What llama.cpp must know to build the network."""
    num_heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or config["hidden_size"] // num_heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(num_heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")


def gguf_name(name: str) -> str:
    """llama.cpp's name of a tensor."""
    if name in NAMES:
        return NAMES[name]
    _model, _layers, layer, *middle, kind = name.split(".")
    return f"blk.{layer}.{LAYER_NAMES['.'.join(middle)]}.{kind}"


def rearranged(name: str, bits: NDArray[np.uint16], config: dict[str, Any]) -> NDArray[np.uint16]:
    """Rows in llama.cpp's order: for Llama, queries and keys have rotary pairs side by side."""
    num_heads = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config["num_key_value_heads"],
    }.get(name.split(".")[-2])
    if num_heads is None or config["model_type"] != "llama":
        return bits
    halves = bits.reshape(num_heads, 2, -1, bits.shape[1])
    return halves.swapaxes(1, 2).reshape(bits.shape)


def main() -> None:
    """`python -m inlay_bench.adapters.to_gguf FROM TO`."""
    source, target = map(Path, sys.argv[1:])
    convert(source, target)


if __name__ == "__main__":
    main()
