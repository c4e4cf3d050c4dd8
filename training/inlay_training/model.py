"""The shape of the embedded model: an Idefics3 with a small eye and a small Llama."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from inlay_training.tokenizer import END, IMAGE, PAD, token_id

IMAGE_SIDE = 96  # pixels; every picture is squashed to a square of this size
NUM_IMAGE_TOKENS = 9  # one for each place of the three by three layout

# One turn is its role, its text and images in order, and the end mark; the prompt for an answer is
# the role of the assistant alone.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|' ~ message.role ~ '|>' }}
{%- if message.content is string -%}
{{ message.content | trim }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') -%}
<image>
{%- else -%}
{{ part.text | trim }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<end_of_utterance>
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{%- endif -%}
"""


def build_model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """The untrained model, in float32, for this vocabulary."""
    image_id, end_id, pad_id = (token_id(tokenizer, token) for token in (IMAGE, END, PAD))
    special_ids: dict[str, Any] = {
        "bos_token_id": None,
        "eos_token_id": end_id,
        "pad_token_id": pad_id,
    }
    config = Idefics3Config(
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIDE,
            "patch_size": 16,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 5,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            **special_ids,
        },
        scale_factor=2,
        image_token_id=image_id,
        tie_word_embeddings=True,
        **special_ids,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.bos_token_id = None
    model.generation_config.eos_token_id = end_id
    model.generation_config.pad_token_id = pad_id
    return model


def build_image_processor() -> Idefics3ImageProcessorPil:
    """Squashes a picture to `IMAGE_SIDE` squared and scales it to -1..1; never splits it."""
    return Idefics3ImageProcessorPil(
        size={"longest_edge": IMAGE_SIDE},
        max_image_size={"longest_edge": IMAGE_SIDE},
        do_image_splitting=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """The processor saved next to the model, chat template included."""
    return Idefics3Processor(
        image_processor=build_image_processor(),
        tokenizer=tokenizer,
        image_seq_len=NUM_IMAGE_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def save_model(
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    dtype: torch.dtype,
) -> None:
    """Writes a folder that AutoProcessor and AutoModelForImageTextToText load."""
    copy: Any = build_model(tokenizer)
    copy.load_state_dict(model.state_dict())
    copy.to(dtype).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
