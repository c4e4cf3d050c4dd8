"""Trains the embedded model from nothing: the eye first, then the language on top of it."""

import argparse
from pathlib import Path
from random import Random

import torch
from transformers import Idefics3ForConditionalGeneration

from inlay_training.attention import use_fast_attention
from inlay_training.eye import train_eye
from inlay_training.language import train_language
from inlay_training.model import build_model, save_model
from inlay_training.pictures import load_pictures
from inlay_training.questions import all_sentences
from inlay_training.stages import (
    EYE_PICTURES,
    HELD_OUT_PICTURES,
    LANGUAGE_PICTURES,
    SEED,
    STAGES,
    EyeStage,
)
from inlay_training.tokenizer import train_tokenizer


def main() -> None:
    """Runs the stages in order; those whose folder is there already are loaded, not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and stages")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    tokenizer = train_tokenizer(all_sentences(Random(SEED), 2000))
    model = build_model(tokenizer)
    use_fast_attention(model)
    held_out = load_pictures(HELD_OUT_PICTURES, out / "held-out.npy", arguments.workers)
    for stage in STAGES:
        folder = out / stage.name
        if not folder.exists():
            if isinstance(stage, EyeStage):
                pictures = load_pictures(EYE_PICTURES, out / "eye.npy", arguments.workers)
                train_eye(stage, model, tokenizer, pictures, held_out)
            else:
                pictures = load_pictures(LANGUAGE_PICTURES, out / "language.npy", arguments.workers)
                train_language(stage, model, tokenizer, pictures, held_out, out / "latest")
            save_model(model, tokenizer, folder, stage.saved_in)
        done = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        model.load_state_dict(done.state_dict())
    save_model(model, tokenizer, out / "final", torch.bfloat16)


if __name__ == "__main__":
    main()
