"""Scenes in words and as JSON."""

import json
from collections.abc import Sequence

from inlay_training.world import COLOR_NAMES, SHAPES, Scene

NUMBER_WORDS = ("no", "a", "two", "three", "four")


def caption(scene: Scene) -> str:
    """For example "a red circle and two blue squares"; "nothing" for an empty scene."""
    return join([phrase(*group) for group in scene.groups()])


def to_json(scene: Scene) -> str:
    """The objects and their number, compact, in the order of the scene."""
    return json.dumps(
        {
            "objects": [
                {"color": item.color_name, "shape": item.shape_name} for item in scene.items
            ],
            "count": len(scene.items),
        },
        separators=(",", ":"),
    )


def join(parts: Sequence[str]) -> str:
    """For example "red, green and blue"; "nothing" for no parts."""
    if len(parts) < 2:
        return parts[0] if parts else "nothing"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def phrase(color: int, shape: int, count: int) -> str:
    """For example "an orange circle" or "two blue squares": so many of this color and shape."""
    name = f"{COLOR_NAMES[color]} {SHAPES[shape]}"
    if count == 1:
        return f"{article(name)} {name}"
    return f"{NUMBER_WORDS[count]} {name}s"


def article(name: str) -> str:
    """The article before this name."""
    return "an" if name[0] in "aeiou" else "a"
