"""Draws a large number of pictures as the model sees them, to train on."""

import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from inlay_training.model import IMAGE_SIDE, build_image_processor
from inlay_training.world import Scene, draw_held, draw_picture, encode_picture

FILE_FORMATS = ("PNG", "JPEG", "WEBP")
FILE_FORMAT_WEIGHTS = (60, 25, 15)
CHUNK = 500  # pictures drawn by one task


@dataclass(frozen=True)
class Plan:
    """Which pictures to draw: the same plan always gives the same pictures."""

    seed: int
    num_pictures: int
    held_out: bool  # all scenes are held out of training, or none is
    may_be_empty: bool

    def generator(self, index: int) -> Random:
        """Draws the picture of this index."""
        return Random(f"picture {self.seed} {index}")

    def draw_scene(self, rng: Random) -> Scene:
        """The first thing that a generator draws."""
        return draw_held(rng, self.held_out, self.may_be_empty)


@dataclass(frozen=True)
class Pictures:
    """Scenes and their pictures, processed: (number, 3, side, side) in 0..255."""

    scenes: list[Scene]
    pixels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.scenes)


def load_pictures(plan: Plan, path: Path, num_workers: int) -> Pictures:
    """The pictures of a plan; their pixels are kept in a file at `path`."""
    if not path.exists():
        np.save(path, _draw_pixels(plan, num_workers))
    generators = (plan.generator(index) for index in range(plan.num_pictures))
    return Pictures([plan.draw_scene(rng) for rng in generators], np.load(path))


def _draw_pixels(plan: Plan, num_workers: int) -> npt.NDArray[np.uint8]:
    with ProcessPoolExecutor(num_workers) as pool:
        chunks = pool.map(partial(_draw_chunk, plan), range(0, plan.num_pictures, CHUNK))
        return np.concatenate(list(chunks))


def _draw_chunk(plan: Plan, start: int) -> npt.NDArray[np.uint8]:
    processor = build_image_processor()
    indices = range(start, min(start + CHUNK, plan.num_pictures))
    pixels = np.empty((len(indices), 3, IMAGE_SIDE, IMAGE_SIDE), dtype=np.uint8)
    for k, index in enumerate(indices):
        rng = plan.generator(index)
        scene = plan.draw_scene(rng)
        file_format = rng.choices(FILE_FORMATS, FILE_FORMAT_WEIGHTS)[0]
        file = encode_picture(draw_picture(scene, rng), file_format, rng)
        picture = Image.open(io.BytesIO(file)).convert("RGB")
        values = processor(picture, return_tensors="np")["pixel_values"][0, 0]
        pixels[k] = np.rint((values * 0.5 + 0.5) * 255)
    return pixels
