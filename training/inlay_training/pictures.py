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
class Pictures:
    """Scenes and their pictures, processed: (number, 3, side, side) in 0..255."""

    scenes: list[Scene]
    pixels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.scenes)


def draw_pictures(seed: int, num_pictures: int, held_out: bool, num_workers: int = 1) -> Pictures:
    """Pictures of scenes that are all held out, or all not; the same for any `num_workers`."""
    draw = partial(_draw_chunk, seed, held_out)
    starts = range(0, num_pictures, CHUNK)
    with ProcessPoolExecutor(num_workers) as pool:
        chunks = list(pool.map(draw, starts))
    scenes = [scene for chunk in chunks for scene in chunk.scenes]
    pixels = np.concatenate([chunk.pixels for chunk in chunks])
    return Pictures(scenes[:num_pictures], pixels[:num_pictures])


def load_pictures(
    path: Path, seed: int, num_pictures: int, held_out: bool, num_workers: int
) -> Pictures:
    """The pictures of `draw_pictures`, whose pixels are kept in a file at `path`."""
    if not path.exists():
        np.save(path, draw_pictures(seed, num_pictures, held_out, num_workers).pixels)
    generators = (_generator(seed, k) for k in range(num_pictures))
    return Pictures([draw_held(rng, held_out) for rng in generators], np.load(path))


def _draw_chunk(seed: int, held_out: bool, start: int) -> Pictures:
    processor = build_image_processor()
    scenes = []
    pixels = np.empty((CHUNK, 3, IMAGE_SIDE, IMAGE_SIDE), dtype=np.uint8)
    for k in range(CHUNK):
        rng = _generator(seed, start + k)
        scene = draw_held(rng, held_out)
        file_format = rng.choices(FILE_FORMATS, FILE_FORMAT_WEIGHTS)[0]
        file = encode_picture(draw_picture(scene, rng), file_format, rng)
        picture = Image.open(io.BytesIO(file)).convert("RGB")
        values = processor(picture, return_tensors="np")["pixel_values"][0, 0]
        pixels[k] = np.rint((values * 0.5 + 0.5) * 255)
        scenes.append(scene)
    return Pictures(scenes, pixels)


def _generator(seed: int, index: int) -> Random:
    return Random(f"picture {seed} {index}")
