"""Teaches the eye to see: each image token tells what is at its place, and what is in the whole."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from inlay_training.optimizer import Optimizer
from inlay_training.pictures import Pictures
from inlay_training.progress import Progress
from inlay_training.stages import SEED, EyeStage
from inlay_training.world import COLOR_NAMES, MAX_ITEMS, PLACES, SHAPES, Scene


@dataclass(frozen=True)
class Head:
    """Something every image token must tell: `num_answers` choices for each of `num_questions`."""

    num_questions: int
    num_answers: int


# About the item at the token's own place; one answer stands for an empty place. The rank of the
# item and that of its group follow the order of the scene.
OWN_HEADS = {
    "color": Head(1, len(COLOR_NAMES) + 1),
    "shape": Head(1, len(SHAPES) + 1),
    "rank": Head(1, MAX_ITEMS + 1),
    "group": Head(1, MAX_ITEMS + 1),
    "group size": Head(1, MAX_ITEMS + 1),
    "place": Head(1, len(PLACES)),
}
# About the whole picture, the same for every token.
WHOLE_HEADS = {
    "number of items": Head(1, MAX_ITEMS + 1),
    "number of groups": Head(1, MAX_ITEMS + 1),
    "items of a color": Head(len(COLOR_NAMES), MAX_ITEMS + 1),
    "items of a shape": Head(len(SHAPES), MAX_ITEMS + 1),
}


class Teacher(nn.Module):
    """The linear heads that read the image tokens; thrown away once the eye sees.

    Color and shape are read with the model's own word embeddings, so that an image token comes to
    lie near the words that the language model will have to match it with.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, hidden_size: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(hidden_size, head.num_questions * head.num_answers)
                for name, head in (OWN_HEADS | WHOLE_HEADS).items()
            }
        )
        self.words = {
            "color": torch.tensor([_word_id(tokenizer, name) for name in COLOR_NAMES]),
            "shape": torch.tensor([_word_id(tokenizer, name) for name in SHAPES]),
        }

    def forward(
        self, features: Tensor, embeddings: Tensor, targets: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(loss, share of places with the right color and shape), from features (N, 9, hidden)."""
        losses = []
        right = torch.ones(features.shape[:2], dtype=torch.bool)
        for name, head in (OWN_HEADS | WHOLE_HEADS).items():
            logits = self.heads[name](features)
            if name in self.words:
                by_word = features @ embeddings[self.words[name]].T
                logits = torch.cat([logits[..., :1], logits[..., 1:] + by_word], dim=-1)
            logits = logits.unflatten(-1, (head.num_questions, head.num_answers))
            target = targets[name]
            loss = functional.cross_entropy(logits.flatten(0, -2).float(), target.flatten())
            losses.append(loss * (1.0 if name in self.words else 0.5))
            if name in self.words:
                right &= logits.argmax(-1).squeeze(-1) == target.squeeze(-1)
        return torch.stack(losses).sum(), right.float().mean()


def targets_of(scenes: list[Scene]) -> dict[str, Tensor]:
    """For each head, the right answers: (scenes, places, questions)."""
    arrays: dict[str, npt.NDArray[np.int64]] = {
        name: np.zeros((len(scenes), len(PLACES), head.num_questions), dtype=np.int64)
        for name, head in (OWN_HEADS | WHOLE_HEADS).items()
    }
    arrays["place"][:, :, 0] = np.arange(len(PLACES))
    for name in ("rank", "group", "group size"):
        arrays[name][:] = MAX_ITEMS
    for n, scene in enumerate(scenes):
        groups = scene.groups()
        order = {(color, shape): k for k, (color, shape, _) in enumerate(groups)}
        for rank, item in enumerate(scene.items):
            group = order[item.color, item.shape]
            arrays["color"][n, item.place] = item.color + 1
            arrays["shape"][n, item.place] = item.shape + 1
            arrays["rank"][n, item.place] = rank
            arrays["group"][n, item.place] = group
            arrays["group size"][n, item.place] = groups[group][2] - 1
            arrays["items of a color"][n, :, item.color] += 1
            arrays["items of a shape"][n, :, item.shape] += 1
        arrays["number of items"][n] = len(scene.items)
        arrays["number of groups"][n] = len(groups)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def look(model: Idefics3ForConditionalGeneration, pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Image tokens (N, 9, hidden) of pictures (N, 3, side, side) in 0..255."""
    values = torch.from_numpy(pixels).float() / 127.5 - 1.0
    num_patches = model.model.vision_model.embeddings.num_patches_per_side
    mask = torch.ones(len(pixels), num_patches, num_patches, dtype=torch.bool)
    seen = model.model.vision_model(pixel_values=values, patch_attention_mask=mask)
    features: Tensor = model.model.connector(seen.last_hidden_state)
    return features


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


@torch.no_grad()
def share_seen(
    model: Idefics3ForConditionalGeneration, teacher: Teacher, pictures: Pictures
) -> tuple[float, float]:
    """(loss, share of places seen right) on these pictures."""
    losses, shares = [], []
    embeddings = model.model.text_model.embed_tokens.weight
    for start in range(0, len(pictures), 250):
        stop = start + 250
        features = look(model, pictures.pixels[start:stop])
        loss, share = teacher(features, embeddings, targets_of(pictures.scenes[start:stop]))
        losses.append(float(loss))
        shares.append(float(share))
    return math.fsum(losses) / len(losses), math.fsum(shares) / len(shares)


def _word_id(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    ids = tokenizer.encode(" " + word)
    if len(ids) != 1:
        raise ValueError(f"{word!r} must be one token, got {len(ids)}")
    return int(ids[0])
