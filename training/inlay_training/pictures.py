"""Draws a large number of pictures as the model sees them, to train on."""

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
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


def _draw_chunk(seed: int, held_out: bool, start: int) -> Pictures:
    processor = build_image_processor()
    scenes = []
    pixels = np.empty((CHUNK, 3, IMAGE_SIDE, IMAGE_SIDE), dtype=np.uint8)
    for k, rng in enumerate(_generators(seed, start)):
        scene = draw_held(rng, held_out)
        file_format = rng.choices(FILE_FORMATS, FILE_FORMAT_WEIGHTS)[0]
        file = encode_picture(draw_picture(scene, rng), file_format, rng)
        picture = Image.open(io.BytesIO(file)).convert("RGB")
        values = processor(picture, return_tensors="np")["pixel_values"][0, 0]
        pixels[k] = np.rint((values * 0.5 + 0.5) * 255)
        scenes.append(scene)
    return Pictures(scenes, pixels)


def _generators(seed: int, start: int) -> Iterator[Random]:
    return (Random(f"picture {seed} {start + k}") for k in range(CHUNK))
