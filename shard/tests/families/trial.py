"""One family on inlay, held against `generate`."""

import random
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driver import BLOCK_SIZE, Driver, Running
from local_shard import Shard, embeds_of, picture, start_shard
from transformers_reference import Reference

from families.extras import has_torchvision
from families.listing import BESIDE_EXTRAS, classes, vision_language
from families.making import make_folder
from families.recipes import RECIPES, Recipe
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import ModelRefused, PreparationRefused, naming_type
from inlay_shard.images.preparation import load_preparer
from inlay_shard.images.recipe import Piece
from inlay_shard.model.architecture import check
from inlay_shard.model.loading import quiet
from inlay_shard.model.view import View

NUM_NEW_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one family. None: not tried."""

    model_type: str
    loads: bool | None = None
    text: bool | None = None
    one_image: bool | None = None
    several_images: bool | None = None
    batch: bool | None = None
    chunks: bool | None = None
    cached: bool | None = None
    embeds: bool | None = None
    reason: str = ""
    """In words, where something is not so."""
    num_seconds: float = 0.0

    @property
    def is_wrong(self) -> bool:
        """Whether it is served and gave an answer that `generate` does not give."""
        ways = (self.text, self.one_image, self.several_images)
        return False in (*ways, self.batch, self.chunks, self.cached, self.embeds)


def try_family(model_type: str) -> Trial:
    """Make a tiny model of the family, serve it, and compare."""
    started = time.perf_counter()
    trial = Trial(model_type=model_type)
    with tempfile.TemporaryDirectory() as name, quiet():
        trial = _try(trial, Path(name))
    if has_torchvision():
        words = [trial.reason, "beside torchvision"]
        trial = replace(trial, reason="; ".join(word for word in words if word))
    return replace(trial, num_seconds=time.perf_counter() - started)


def _try(trial: Trial, folder: Path) -> Trial:
    recipe = RECIPES.get(trial.model_type, Recipe())
    config_class, model_class = classes(trial.model_type)
    try:
        make_folder(config_class, model_class, recipe, folder)
    except Exception as error:
        return _unmade(trial, config_class, error)
    has_images = _takes_images(folder)
    try:
        shard = start_shard(folder, takes_images=has_images)
    except ModelRefused as refusal:
        return replace(trial, loads=False, reason=str(refusal))
    trial = replace(trial, loads=True)
    try:
        reference = Reference(folder, takes_images=has_images)
        questions = _ask(reference, shard.ready.network.view, has_images)
    except Exception as error:
        return replace(trial, reason=f"generate itself fails on the tiny model: {_words(error)}")
    return _compare(trial, shard, questions, has_images)


def _unmade(trial: Trial, config_class: Any, error: Exception) -> Trial:
    """What inlay says of the family's own configuration, where no tiny model of it was made."""
    try:
        with naming_type(trial.model_type):
            check(config_class(), 1)
    except ModelRefused as refusal:
        return replace(trial, loads=False, reason=str(refusal))
    except Exception as other:
        error = other
    if isinstance(error, ImportError):
        return replace(trial, reason=f"it needs {_missing(error)}, which is not here")
    return replace(
        trial,
        reason="the table has no sizes with which its configuration is consistent",
    )


def _missing(error: ImportError) -> str:
    """The library that is not there."""
    named = re.search(r"requires the (\w+) library", str(error))
    return named[1] if named else error.name or "a library that is not here"


def _takes_images(folder: Path) -> bool:
    try:
        return load_preparer(folder) is not None
    except Exception:  # as the server does: then text alone is served
        return False


@dataclass(frozen=True)
class Question:
    """A prompt of token ids, or of text and images, and what `generate` answers."""

    column: str
    prompt: Any
    answer: list[int]


def _ask(reference: Reference, view: View, has_images: bool) -> list[Question]:
    numbers = random.Random(3)
    texts = [[numbers.randrange(100, 300) for _ in range(n)] for n in (1, 9, 40)]
    questions = [
        Question("text", token_ids, reference.generate(token_ids, NUM_NEW_TOKENS))
        for token_ids in texts
        if view is not View.PROMPT
    ]
    seen: list[tuple[str, list[Piece]]] = [
        ("one_image", ["see ", picture(1), " what?"]),
        ("one_image", [picture(2, 64, 32)]),
        ("several_images", ["x", picture(3), " and ", picture(4, 32, 64), "?"]),
    ]
    return questions + [
        Question(column, pieces, reference.generate_seen(pieces, NUM_NEW_TOKENS))
        for column, pieces in seen
        if has_images
    ]


def _compare(trial: Trial, shard: Shard, questions: list[Question], has_images: bool) -> Trial:
    found: dict[str, Any] = {}
    for question in questions:
        is_equal = _run(shard, [question], 1 << 20)
        found[question.column] = found.get(question.column, True) and is_equal
    found["batch"] = _run(shard, questions, 1 << 20)
    found["chunks"] = _run(shard, questions, 5)
    if has_images:
        seen = [one for one in questions if one.column != "text"]
        found |= {"cached": _continues(shard, seen), "embeds": _takes_embeds(shard, seen)}
    return replace(trial, **found, reason=_remark(trial.model_type, has_images, "text" in found))


def _remark(model_type: str, has_images: bool, has_texts: bool) -> str:
    if not has_texts:
        return "prompts without an image are refused, as by its own processor"
    if has_images or model_type not in vision_language():
        return ""
    if model_type in BESIDE_EXTRAS and not has_torchvision():
        return "text alone was tried: the processor of its images needs torchvision"
    return "text alone was tried: no processor of transformers puts its images into prompts"


def _run(shard: Shard, questions: list[Question], chunk: int) -> bool:
    """Whether the engine answers as `generate` does, all at once and with such chunks."""
    driver = Driver(shard, chunk=chunk)
    running = []
    for question in questions:
        if question.column == "text":
            running.append(driver.add(question.prompt, NUM_NEW_TOKENS))
        else:
            running.append(_add_seen(driver, shard.prepare(question.prompt)))
    driver.run()
    return [one.output_ids for one in running] == [question.answer for question in questions]


def _continues(shard: Shard, questions: list[Question]) -> bool | None:
    """Whether prompts that are asked again are answered from blocks of the first time; None if the
    model has states that are not in blocks."""
    if shard.facts.is_recurrent:
        return None
    driver = Driver(shard)
    replies = [shard.prepare(question.prompt) for question in questions]
    first = [_add_seen(driver, reply) for reply in replies]
    driver.step()
    second = []
    for running, reply in zip(first, replies, strict=True):
        num_blocks = (len(reply.token_ids) - 1) // BLOCK_SIZE
        second.append(_add_seen(driver, reply, running.block_ids[:num_blocks]))
    driver.run()
    return [one.output_ids for one in second] == [question.answer for question in questions]


def _takes_embeds(shard: Shard, questions: list[Question]) -> bool | None:
    """Whether the encoder's embeddings are answered as the images are, also in chunks; None if the
    model does not take them."""
    try:
        instead = [replace(one, prompt=_with_embeds(shard, one.prompt)) for one in questions]
        return _run(shard, instead, 1 << 20) and _run(shard, instead, 5)
    except PreparationRefused:
        return None


def _with_embeds(shard: Shard, pieces: Sequence[Piece]) -> list[Piece]:
    features = shard.features.get(shard.prepare(pieces).features_key)
    assert features is not None
    images = iter([*features.images] * len(pieces))  # one for all where they are not told apart
    return [p if isinstance(p, str) else embeds_of(next(images).embeddings) for p in pieces]


def _add_seen(driver: Driver, reply: pb.PrepareReply, shared: Sequence[int] = ()) -> Running:
    return driver.add(
        reply.token_ids,
        NUM_NEW_TOKENS,
        features_key=reply.features_key,
        places=reply.images,
        shared=shared,
    )


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
