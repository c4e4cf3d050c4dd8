"""Makes the model folder that both sides load: random weights in a standard architecture."""

import argparse
import math
import shutil
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

from inlay_bench.shape import SHAPES, ModelShape
from inlay_bench.vocabulary import (
    AROUND_IMAGE,
    END,
    IMAGE,
    PAD,
    SPECIAL_TOKENS,
    WHOLE_IMAGE,
    build_tokenizer,
)

CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"


def make_model(folder: Path, shape: ModelShape) -> None:
    """Writes config, weights (bfloat16), tokenizer and processor; does nothing when they stand."""
    if folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(shape.text.vocab_size),
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE},
        additional_special_tokens=[AROUND_IMAGE, WHOLE_IMAGE],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=shape.max_positions,
    )
    model = build_model(tokenizer, shape)
    torch.nn.Module.to(model, torch.bfloat16)
    model.save_pretrained(unfinished)
    build_processor(tokenizer, shape).save_pretrained(unfinished)
    unfinished.rename(folder)


def build_model(
    tokenizer: PreTrainedTokenizerFast, shape: ModelShape
) -> Idefics3ForConditionalGeneration:
    """The model with its random weights, in float32."""
    image_id, end_id, pad_id = (tokenizer.get_vocab()[token] for token in (IMAGE, END, PAD))
    config = Idefics3Config(
        vision_config=vision_config(shape),
        text_config=text_config(shape, end_id=end_id, pad_id=pad_id),
        scale_factor=shape.vision.scale_factor,
        image_token_id=image_id,
        tie_word_embeddings=False,
        **special_ids(end_id, pad_id),
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.bos_token_id = None
    model.generation_config.eos_token_id = end_id
    model.generation_config.pad_token_id = pad_id
    fill_weights(model, shape.seed)
    silence(model, [tokenizer.get_vocab()[token] for token in SPECIAL_TOKENS])
    return model


def vision_config(shape: ModelShape) -> dict[str, int]:
    """The eye, as `Idefics3Config` wants it."""
    return {
        "hidden_size": shape.vision.hidden_size,
        "intermediate_size": shape.vision.intermediate_size,
        "num_hidden_layers": shape.vision.num_layers,
        "num_attention_heads": shape.vision.num_heads,
        "image_size": shape.vision.image_side,
        "patch_size": shape.vision.patch_side,
    }


def text_config(shape: ModelShape, *, end_id: int, pad_id: int) -> dict[str, object]:
    """The text tower, as `Idefics3Config` wants it."""
    return {
        "model_type": "llama",
        "vocab_size": shape.text.vocab_size,
        "hidden_size": shape.text.hidden_size,
        "intermediate_size": shape.text.intermediate_size,
        "num_hidden_layers": shape.text.num_layers,
        "num_attention_heads": shape.text.num_heads,
        "num_key_value_heads": shape.text.num_kv_heads,
        "head_dim": shape.text.head_size,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": 1e-5,
        **special_ids(end_id, pad_id),
        "tie_word_embeddings": False,
    }


def special_ids(end_id: int, pad_id: int) -> dict[str, Any]:
    """The tokens that a configuration names."""
    return {"bos_token_id": None, "eos_token_id": end_id, "pad_token_id": pad_id}


@torch.no_grad()
def fill_weights(model: torch.nn.Module, seed: int) -> None:
    """Random matrices of gain one, so that an answer depends on its whole prompt.

    With the usual small ones the layers hardly change the embedding, and each token would follow
    from the last alone: a comparison of texts would then see no fault in attention or cache.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            fan_in = math.prod(parameter.shape[1:])
            parameter.normal_(std=fan_in**-0.5, generator=generator)


@torch.no_grad()
def silence(model: Idefics3ForConditionalGeneration, token_ids: list[int]) -> None:
    """Gives these tokens a logit of zero, which is never the largest: no answer ends early."""
    model.lm_head.weight[token_ids] = 0.0


def build_processor(tokenizer: PreTrainedTokenizerFast, shape: ModelShape) -> Idefics3Processor:
    """Brings every picture to one square, without splitting it."""
    side = {"longest_edge": shape.vision.image_side}
    image_processor = Idefics3ImageProcessorPil(
        size=side,
        max_image_size=side,
        do_image_splitting=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return Idefics3Processor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        image_seq_len=shape.vision.num_image_tokens,
        chat_template=CHAT_TEMPLATE,
    )


def main() -> None:
    """Makes a model of the bench's in the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="bench")
    options = parser.parse_args()
    make_model(options.folder, SHAPES[options.shape])


if __name__ == "__main__":
    main()
