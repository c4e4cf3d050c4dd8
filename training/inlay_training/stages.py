"""The stages of training, in order: what is learned, from which pictures, at which rate."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from inlay_training.pictures import Plan
from inlay_training.questions import KINDS

SEED = 1
EYE_PICTURES = Plan(seed=1, num_pictures=60_000, held_out=False, may_be_empty=False)
LANGUAGE_PICTURES = Plan(seed=3, num_pictures=50_000, held_out=False, may_be_empty=True)
HELD_OUT_PICTURES = Plan(seed=2, num_pictures=2_000, held_out=True, may_be_empty=False)


@dataclass(frozen=True, kw_only=True)
class EyeStage:
    """The vision tower and the connector learn from the dense targets of `eye`."""

    name: str
    num_steps: int
    rate: float  # of Muon; warms up, then falls linearly to zero
    num_pictures: int = 64  # in a batch
    saved_in: torch.dtype = torch.float32  # the next stage starts from weights rounded to this


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
    saved_in: torch.dtype = torch.float32  # the next stage starts from weights rounded to this


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

# What is still often wrong after the stage before is asked more often.
WEAK_POINTS: dict[str, float] = {
    "caption": 2.5,
    "count": 0.4,
    "count of a color": 2.0,
    "count of a shape": 2.0,
    "color": 0.8,
    "color of several": 0.3,
    "color of the only object": 0.2,
    "shape": 0.6,
    "shape of the only object": 0.2,
    "colors": 0.6,
    "shapes": 1.0,
    "where": 3.5,
    "what is there": 3.5,
    "yes or no": 3.0,
    "json": 1.0,
    "json under a schema": 0.8,
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
        num_steps=2000,
        rate=0.004,
        decay=0.0,
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
        saved_in=torch.bfloat16,
    ),
    LanguageStage(
        name="finish",
        num_steps=2600,
        rate=0.004,
        decay=1.0,
        kinds=WEAK_POINTS,
        forms={
            "plain": 4,
            "chat": 3,
            "plain, picture last": 1.8,
            "chat, picture last": 0.9,
            "turns": 1.2,
            "two": 1.3,
            "text": 0.3,
        },
    ),
    LanguageStage(
        name="places and turns",
        num_steps=700,
        rate=0.002,
        decay=1.0,
        kinds=WEAK_POINTS | {"what is there": 14.0, "color of several": 2.0},
        forms={
            "plain": 4,
            "chat": 3,
            "plain, picture last": 1.8,
            "chat, picture last": 0.9,
            "turns": 4,
            "two": 0.7,
            "text": 0.3,
        },
    ),
)
