"""Draws the example pictures of the repository, and writes what the model must say about them."""

import argparse
import json
from pathlib import Path
from random import Random

from inlay_training.descriptions import caption, to_json
from inlay_training.world import COLOR_NAMES, PLACES, SHAPES, Item, Scene, draw_picture

EXAMPLES = Path(__file__).parents[2] / "examples"

# Name of the file, size in pixels, and what it shows as (color, shape, place).
PICTURES: dict[str, tuple[tuple[int, int], tuple[tuple[str, str, str], ...]]] = {
    "shapes.png": (
        (320, 240),
        (
            ("red", "circle", "top left"),
            ("blue", "square", "center"),
            ("blue", "square", "bottom right"),
        ),
    ),
    "star.jpg": ((256, 256), (("yellow", "star", "center"),)),
    "triangles.png": (
        (480, 480),
        (
            ("green", "triangle", "top"),
            ("green", "triangle", "bottom left"),
            ("purple", "star", "bottom right"),
        ),
    ),
    "small.png": ((64, 64), (("orange", "circle", "left"), ("blue", "triangle", "right"))),
    "four.webp": (
        (400, 300),
        (
            ("red", "square", "top right"),
            ("yellow", "circle", "left"),
            ("green", "star", "center"),
            ("green", "star", "bottom"),
        ),
    ),
}


def scene_of(name: str) -> Scene:
    """What the example picture of this name shows."""
    _, items = PICTURES[name]
    return Scene.of(
        Item(COLOR_NAMES.index(color), SHAPES.index(shape), PLACES.index(place))
        for color, shape, place in items
    )


def questions_about(name: str) -> list[tuple[str, str]]:
    """(prompt, answer) pairs for the example picture of this name."""
    scene = scene_of(name)
    pairs = [
        ("What is this a picture of?", caption(scene)),
        ("How many objects are there?", str(len(scene.items))),
        ("Extract the objects as JSON.", to_json(scene)),
    ]
    if name == "shapes.png":
        pairs += [
            ("What color is the circle?", "red"),
            ("What shape is the red object?", "circle"),
            ("What color are the squares?", "blue"),
        ]
    if name == "star.jpg":
        pairs += [("What color is the star?", "yellow"), ("What shape is it?", "star")]
    return pairs


def main() -> None:
    """Writes the pictures and `answers.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=EXAMPLES)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    answers = []
    for name, (canvas, _) in PICTURES.items():
        draw_picture(scene_of(name), Random(name), canvas).save(out / name, quality=85)
        for prompt, answer in questions_about(name):
            for is_chat in (False, True):
                answers.append({"image": name, "prompt": prompt, "chat": is_chat, "answer": answer})
    (out / "answers.json").write_text(json.dumps(answers, indent=2) + "\n")


if __name__ == "__main__":
    main()
