"""Teaches the language model to answer, on top of an eye that sees already."""

from collections import defaultdict
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from inlay_training.conversations import Writer
from inlay_training.eye import look
from inlay_training.model import save_model
from inlay_training.optimizer import Optimizer
from inlay_training.pictures import Pictures
from inlay_training.progress import REPORT_EVERY, Progress
from inlay_training.rows import NOT_TAUGHT, Batch
from inlay_training.stages import SEED, LanguageStage
from inlay_training.tokenizer import IMAGE, token_id


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
            save_model(model, tokenizer, latest, torch.bfloat16)


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
