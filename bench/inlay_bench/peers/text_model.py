"""Makes text models with random weights, of the sizes that people serve."""

import argparse
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from inlay_bench.bench_model import fill_weights, special_ids
from inlay_bench.shape import BENCH_SHAPE, TextShape
from inlay_bench.vocabulary import END, PAD, SPECIAL_TOKENS, build_tokenizer


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A decoder without eyes."""

    name: str
    architecture: str
    """`model_type` of its configuration: llama or qwen2."""
    shape: TextShape
    is_tied: bool
    """Whether the head is the embedding."""
    max_positions: int = 4096
    seed: int = 1


SMOL = TextModel(
    name="smol",
    architecture="llama",
    shape=BENCH_SHAPE.text,
    is_tied=False,
)
"""The text tower of SmolVLM-256M."""

QWEN = TextModel(
    name="qwen",
    architecture="qwen2",
    shape=TextShape(
        num_layers=24,
        hidden_size=896,
        intermediate_size=4864,
        num_heads=14,
        num_kv_heads=2,
        head_size=64,
        vocab_size=151_936,
    ),
    is_tied=True,
)
"""Qwen2.5-0.5B."""

TEXT_MODELS = {model.name: model for model in (SMOL, QWEN)}


def make_text_model(folder: Path, model: TextModel) -> None:
    """Writes config, weights (bfloat16) and tokenizer; does nothing when they stand."""
    if folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(model.shape.vocab_size),
        pad_token=PAD,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=model.max_positions,
    )
    end_id, pad_id = (tokenizer.get_vocab()[token] for token in (END, PAD))
    network = build_network(model, end_id=end_id, pad_id=pad_id)
    silence_head(network, [tokenizer.get_vocab()[token] for token in SPECIAL_TOKENS])
    torch.nn.Module.to(network, torch.bfloat16)
    network.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(folder)


def build_network(
    model: TextModel, *, end_id: int, pad_id: int
) -> LlamaForCausalLM | Qwen2ForCausalLM:
    """The model with its random weights, in float32."""
    shape = model.shape
    sizes = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "max_position_embeddings": model.max_positions,
        "tie_word_embeddings": model.is_tied,
        **special_ids(end_id, pad_id),
    }
    network: LlamaForCausalLM | Qwen2ForCausalLM
    if model.architecture == "llama":
        network = LlamaForCausalLM(LlamaConfig(head_dim=shape.head_size, **sizes))
    else:
        network = Qwen2ForCausalLM(Qwen2Config(**sizes))
    network.generation_config.bos_token_id = None
    fill_weights(network, model.seed)
    return network


@torch.no_grad()
def silence_head(network: LlamaForCausalLM | Qwen2ForCausalLM, token_ids: list[int]) -> None:
    """Gives these tokens a logit of zero, which is never the largest: no answer ends early."""
    network.lm_head.weight[token_ids] = 0.0


def fingerprint(model: TextModel) -> bytes:
    """Says exactly which model it is."""
    return msgspec.json.encode(asdict(model))


def main() -> None:
    """Makes the model named on the command line in the folder named there."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=tuple(TEXT_MODELS))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    make_text_model(options.folder, TEXT_MODELS[options.name])


if __name__ == "__main__":
    main()
