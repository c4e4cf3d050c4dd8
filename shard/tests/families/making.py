"""A folder with a tiny random model of a family, its tokenizer and its processor."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import image_processing_auto, processing_auto

from families.extras import has_torchvision
from families.recipes import Recipe
from families.shrink import small
from families.tokens import IDS, make_tokenizer

SEED = 20
_SMALL = {"shortest_edge": 32, "min_pixels": 32 * 32, "max_pixels": 64 * 64}
"""Limits of the size of pictures; others are those of the longest edge."""


def make_folder(config_class: Any, model_class: Any, recipe: Recipe, folder: Path) -> bool:
    """Save a model; whether it has a processor for images that runs on PIL alone.

    Raises whatever the classes of the family raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = small(config_class, recipe.config)
    for name in ("image_token_id", "image_token_index"):
        if name in arguments:
            arguments[name] = IDS[recipe.placeholder]
    torch.manual_seed(SEED)
    model = model_class(config_class(**arguments))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if recipe.is_blind(name):
                parameter.normal_(0, 0.2)
    _save(model, folder)
    make_tokenizer(**recipe.tokens).save_pretrained(folder)
    return _save_processor(config_class.model_type, recipe, folder)


def _save(model: Any, folder: Path) -> None:
    if model.can_generate():
        generation = model.generation_config
        generation.bos_token_id = None
        generation.eos_token_id = IDS["<end>"]
        generation.pad_token_id = IDS["<pad>"]
    model.save_pretrained(folder)


def _save_processor(model_type: str, recipe: Recipe, folder: Path) -> bool:
    known: Any = vars(processing_auto)["PROCESSOR_MAPPING_NAMES"]
    pictures: Any = vars(image_processing_auto)["IMAGE_PROCESSOR_MAPPING_NAMES"]
    name = recipe.processor_name or known.get(model_type)
    names = pictures.get(recipe.image_processor_type or model_type) or {}
    backend = "torchvision" if has_torchvision() else "pil"
    if not name or backend not in names:
        return False
    kind = _image_processor_class(names[backend])
    settings = _small_picture(kind().to_dict()) | recipe.image_processor
    kind(**settings).save_pretrained(folder)
    processor = {"processor_class": name} | recipe.processor
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return True


def _image_processor_class(name: str) -> Any:
    return getattr(transformers, name)


def _small_picture(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of an image processor's settings that are sizes, small."""
    changes: dict[str, Any] = {}
    for name in ("size", "max_image_size", "crop_size"):
        if isinstance(size := settings.get(name), dict):
            changes[name] = _small_size(size, 32 if name != "size" else 64)
    if "patch_size" in settings:
        is_square = isinstance(settings["patch_size"], dict)
        changes["patch_size"] = {"height": 8, "width": 8} if is_square else 8
    if settings.get("max_patches"):
        changes["max_patches"] = 2
    if settings.get("image_grid_pinpoints"):
        changes["image_grid_pinpoints"] = [[32, 64], [64, 32], [64, 64]]
    return changes


def _small_size(size: dict[str, int], longest: int) -> dict[str, int]:
    if "height" in size:
        return {"height": 32, "width": 32}
    if {"shortest_edge", "longest_edge"} <= size.keys() and size["shortest_edge"] > 1000:
        return {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}  # of pixels, not of an edge
    return {name: _SMALL.get(name, longest) for name in size}
