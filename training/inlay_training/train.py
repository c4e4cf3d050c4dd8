"""Trains the embedded model from nothing: the eye first, then the language on top of it."""

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    Idefics3ForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.masking_utils import sdpa_mask

from inlay_training.conversations import NOT_TAUGHT, Batch, Writer
from inlay_training.eye import Teacher, look, share_seen, targets_of
from inlay_training.model import build_model, build_processor
from inlay_training.pictures import Pictures, Plan, load_pictures
from inlay_training.questions import KINDS, all_sentences
from inlay_training.tokenizer import IMAGE, token_id, train_tokenizer

SEED = 1
EYE_PICTURES = Plan(seed=1, num_pictures=60_000, held_out=False, may_be_empty=False)
LANGUAGE_PICTURES = Plan(seed=3, num_pictures=50_000, held_out=False, may_be_empty=True)
HELD_OUT_PICTURES = Plan(seed=2, num_pictures=2_000, held_out=True, may_be_empty=False)
REPORT_EVERY = 100  # steps


@dataclass(frozen=True, kw_only=True)
class EyeStage:
    """The vision tower and the connector learn from the dense targets of `eye`."""

    name: str
    num_steps: int
    rate: float  # of Muon; warms up, then falls linearly to zero
    num_pictures: int = 64  # in a batch


@dataclass(frozen=True, kw_only=True)
class LanguageStage:
    """The language model learns to answer; the eye stays as it is."""

    name: str
    num_steps: int
    rate: float  # of Muon; warms up, stays, then falls linearly to zero
    decay: float  # share of the steps in which the rate falls
    kinds: Mapping[str, float]  # weights of the kinds of questions
    forms: Mapping[str, float]  # weights of the forms of rows
    num_rows: int = 16  # in a batch


LOOKUPS: dict[str, float] = dict.fromkeys(KINDS, 1.0) | {
    "caption": 0.5,
    "json": 0.3,
    "json under a schema": 0.0,
    "color": 2.0,
    "shape": 2.0,
    "where": 1.5,
    "what is there": 1.5,
    "yes or no": 1.5,
    "color of the only object": 0.3,
    "shape of the only object": 0.3,
    "color of several": 0.5,
}
EVERYTHING: dict[str, float] = dict.fromkeys(KINDS, 1.0) | {
    "caption": 2.0,
    "json": 1.0,
    "json under a schema": 0.8,
    "color": 1.5,
    "shape": 1.5,
    "where": 1.5,
    "what is there": 1.0,
    "yes or no": 2.0,
    "color of the only object": 0.3,
    "shape of the only object": 0.3,
    "color of several": 0.5,
}

STAGES: tuple[EyeStage | LanguageStage, ...] = (
    EyeStage(name="eye", num_steps=2600, rate=0.005),
    LanguageStage(
        name="lookups",
        num_steps=1200,
        rate=0.004,
        decay=0.0,
        kinds=LOOKUPS,
        forms={"plain": 1, "chat": 0.3},
    ),
    LanguageStage(
        name="everything",
        num_steps=4000,
        rate=0.004,
        decay=0.6,
        kinds=EVERYTHING,
        forms={
            "plain": 4,
            "chat": 3,
            "plain, picture last": 1.5,
            "chat, picture last": 0.7,
            "turns": 1.2,
            "two": 1,
            "text": 0.5,
        },
    ),
)


class Optimizer:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms, heads and biases."""

    def __init__(self, modules: Mapping[str, nn.Module], rate: float) -> None:
        matrices: dict[int, nn.Parameter] = {}
        others: dict[int, nn.Parameter] = {}
        for module in modules.values():
            for name, parameter in module.named_parameters():
                is_matrix = parameter.ndim == 2 and not any(
                    part in name for part in ("embed", "heads", "lm_head")
                )
                (matrices if is_matrix else others)[id(parameter)] = parameter
        self.parameters = [*matrices.values(), *others.values()]
        self._rate = rate
        self._muon = torch.optim.Muon(
            list(matrices.values()), lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self._adam = torch.optim.AdamW(
            list(others.values()), lr=rate, betas=(0.9, 0.98), weight_decay=0.0
        )

    def step(self, share_of_rate: float) -> None:
        """One step on the gradients, which are then cleared."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        optimizers: tuple[tuple[Any, float], ...] = ((self._muon, 1.0), (self._adam, 0.4))
        for optimizer, scale in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._rate * share_of_rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def train_eye(
    stage: EyeStage,
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Pictures,
    held_out: Pictures,
) -> None:
    """Runs one eye stage in place."""
    torch.manual_seed(SEED)
    embeddings = model.model.text_model.embed_tokens
    teacher = Teacher(tokenizer, embeddings.embedding_dim)
    eye = {"vision": model.model.vision_model, "connector": model.model.connector}
    optimizer = Optimizer(
        eye | {"teacher": teacher, "embed": nn.ModuleDict({"embed": embeddings})}, stage.rate
    )
    targets = targets_of(pictures.scenes)
    shuffle = np.random.default_rng(SEED)
    order = np.concatenate(
        [
            shuffle.permutation(len(pictures))
            for _ in range(-(-stage.num_steps * stage.num_pictures // len(pictures)))
        ]
    )
    progress = Progress(stage.name, stage.num_steps)
    for step in range(stage.num_steps):
        chosen = order[step * stage.num_pictures : (step + 1) * stage.num_pictures]
        with torch.autocast("cpu", torch.bfloat16):
            features = look(model, pictures.pixels[chosen])
        loss, share = teacher(
            features.float(), embeddings.weight, {name: t[chosen] for name, t in targets.items()}
        )
        torch.autograd.backward(loss)
        optimizer.step(min((step + 1) / 100, 1 - step / stage.num_steps))
        progress.add(step, loss=float(loss.detach()), seen=float(share))
    loss_held_out, share_held_out = share_seen(model, teacher, held_out)
    print(f"{stage.name}: held out: loss {loss_held_out:.4f}, places {share_held_out:.2%}")


def train_language(
    stage: LanguageStage,
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Pictures,
    held_out: Pictures,
    latest: Path,
) -> None:
    """Runs one language stage in place; the model so far is saved to `latest`."""
    torch.manual_seed(SEED)
    rng = Random(f"{stage.name} {SEED}")
    writer = Writer(tokenizer, pictures.scenes, stage.kinds, stage.forms, rng)
    language = {"text": model.model.text_model}
    optimizer = Optimizer(language, stage.rate)
    progress = Progress(stage.name, stage.num_steps)
    for step, batch in zip(range(stage.num_steps), writer.batches(stage.num_rows), strict=False):
        loss, _ = answer_loss(model, tokenizer, pictures, batch)
        torch.autograd.backward(loss)
        left = 1 - step / stage.num_steps
        falling = min(1.0, left / stage.decay) if stage.decay else 1.0
        optimizer.step(min((step + 1) / 100, falling))
        progress.add(step, loss=float(loss.detach()))
        if (step + 1) % (5 * REPORT_EVERY) == 0 or step + 1 == stage.num_steps:
            quick = Writer(tokenizer, held_out.scenes, stage.kinds, stage.forms, Random(SEED))
            print(exact_matches(model, tokenizer, held_out, quick, num_batches=12), flush=True)
            save(model, tokenizer, latest, torch.bfloat16)


def answer_loss(
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Pictures,
    batch: Batch,
) -> tuple[Tensor, Tensor]:
    """(mean loss of the taught tokens, the most likely next tokens (rows, ROW))."""
    with torch.autocast("cpu", torch.bfloat16):
        embedded = model.model.text_model.embed_tokens(batch.ids)
        if batch.pictures:
            with torch.no_grad():
                features = look(model, pictures.pixels[batch.pictures])
            is_image = batch.ids.eq(token_id(tokenizer, IMAGE))
            embedded = embedded.masked_scatter(is_image[..., None], features.to(embedded.dtype))
        hidden = model.model.text_model(
            inputs_embeds=embedded,
            attention_mask=batch.sees,
            position_ids=batch.positions,
            use_cache=False,
        ).last_hidden_state
        taught = batch.labels != NOT_TAUGHT
        logits = model.lm_head(hidden[taught]).float()
    loss = functional.cross_entropy(logits, batch.labels[taught])
    guesses = batch.labels.clone()
    guesses[taught] = logits.detach().argmax(-1)
    return loss, guesses


@torch.no_grad()
def exact_matches(
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Pictures,
    writer: Writer,
    num_batches: int,
) -> str:
    """One line: the share of whole answers that come out right, for each kind of question."""
    rights: dict[str, list[bool]] = defaultdict(list)
    for _, batch in zip(range(num_batches), writer.batches(16), strict=False):
        _, guesses = answer_loss(model, tokenizer, pictures, batch)
        is_right = guesses == batch.labels
        for kind, row, start, stop in batch.answers:
            rights[kind].append(bool(is_right[row, start:stop].all()))
    return "  " + ", ".join(
        f"{kind} {sum(right) / len(right):.0%}" for kind, right in sorted(rights.items())
    )


class Progress:
    """Prints means of the last steps, and the processor time spent."""

    def __init__(self, name: str, num_steps: int) -> None:
        self._name = name
        self._num_steps = num_steps
        self._values: dict[str, list[float]] = defaultdict(list)
        self._start = time.process_time()

    def add(self, step: int, **values: float) -> None:
        """Takes the figures of one step."""
        for name, value in values.items():
            self._values[name].append(value)
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == self._num_steps:
            means = ", ".join(f"{name} {np.mean(v):.4f}" for name, v in self._values.items())
            minutes = (time.process_time() - self._start) / 60
            print(
                f"{self._name} {step + 1}/{self._num_steps}: {means}, {minutes:.1f} min", flush=True
            )
            self._values.clear()


def attend_in_float32(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention in float32 inside bfloat16 layers: its backward pass is three times faster so."""
    repeats = query.shape[1] // key.shape[1]
    with torch.autocast("cpu", enabled=False):
        output = functional.scaled_dot_product_attention(
            query.float(),
            key.float().repeat_interleave(repeats, 1),
            value.float().repeat_interleave(repeats, 1),
            attn_mask=mask,
            scale=kwargs["scaling"],
        )
    return output.transpose(1, 2), None


def use_fast_attention(model: Idefics3ForConditionalGeneration) -> None:
    """Makes the model attend with `attend_in_float32`."""
    AttentionInterface.register("float32", attend_in_float32)
    AttentionMaskInterface.register("float32", sdpa_mask)
    model.set_attn_implementation("float32")


def save(
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


def main() -> None:
    """Runs the stages in order; those whose folder is there already are loaded, not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and stages")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
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
            save(model, tokenizer, folder, torch.float32)
        done = Idefics3ForConditionalGeneration.from_pretrained(folder)
        model.load_state_dict(done.state_dict())
    save(model, tokenizer, out / "final", torch.bfloat16)


if __name__ == "__main__":
    main()
