"""Images on their way from encoded files to embeddings: each once, for all who ask for it."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.encoder.encoder import Encoder
from inlay_shard.images.features import EmbeddedImage, FeatureCache
from inlay_shard.images.image_embeds import read_embeds
from inlay_shard.images.preparation import Expansion, Prepared
from inlay_shard.images.recipe import Piece, Recipe
from inlay_shard.images.single_flight import SingleFlight
from inlay_shard.model.network import Network

_NUM_AHEAD = 8
"""Images whose pixels wait for the encoder while the workers prepare others."""
_MAX_BYTES_BESIDE = 4096
"""An input of an image that is no larger says how it is laid out, and is kept; the others are
pixels."""


class Prepares(Protocol):
    """What runs the model's processor; each answer comes with the seconds that it took."""

    num_workers: int
    """How many images are prepared at a time."""

    async def recipe(self) -> Recipe:
        """How prompts with images are written for the model."""

    async def expand(self, image: bytes) -> tuple[Expansion, float]:
        """An image as it stands in any prompt. Raises PreparationRefused."""

    async def prepare(
        self, pieces: Sequence[Piece], add_special_tokens: bool
    ) -> tuple[Prepared, float]:
        """A whole prompt. Raises PreparationRefused."""


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """What images need of a loaded model."""

    network: Network
    encoder: Encoder


@dataclass(frozen=True, kw_only=True)
class Stay:
    """Where the time of embedding something went, in seconds."""

    queue: float = 0.0
    prepare: float = 0.0
    encode: float = 0.0
    is_known: bool = False
    """Whether it was in the cache."""


class Embedder:
    """Gets embeddings out of the cache, or through the workers and the encoder. For one loop.

    Few images are on their way at a time, since their pixels take much memory; the others wait.
    """

    def __init__(self, workers: Prepares, features: FeatureCache) -> None:
        self._workers = workers
        self._features = features
        self._places = asyncio.Semaphore(workers.num_workers + _NUM_AHEAD)
        self._flights: SingleFlight[tuple[EmbeddedImage, Stay]] = SingleFlight()

    async def image(self, key: bytes, data: bytes, eyes: Eyes) -> tuple[EmbeddedImage, Stay]:
        """An image that can be spliced into any prompt. Raises PreparationRefused."""
        if known := self._features.image(key):
            return known, Stay(is_known=True)
        return await self._flights.run(key, lambda: self._new_image(key, data, eyes))

    async def given(
        self, key: bytes, embeds: pb.ImageEmbeds, recipe: Recipe, eyes: Eyes
    ) -> tuple[EmbeddedImage, Stay]:
        """Embeddings in an image's stead. Raises PreparationRefused."""
        if known := self._features.image(key):
            return known, Stay(is_known=True)
        image = await asyncio.to_thread(read_embeds, embeds, recipe, eyes.network)
        self._features.put_image(key, image)
        return image, Stay()

    async def _new_image(self, key: bytes, data: bytes, eyes: Eyes) -> tuple[EmbeddedImage, Stay]:
        asked = time.perf_counter()
        async with self._places:
            expansion, prepare = await self._workers.expand(data)
            prepared = time.perf_counter()
            embeddings = await _encode(expansion.inputs, expansion.num_places, eyes)
        beside = {n: a for n, a in expansion.inputs.items() if a.nbytes <= _MAX_BYTES_BESIDE}
        image = EmbeddedImage(
            embeddings=embeddings, expansion=dataclasses.replace(expansion, inputs=beside)
        )
        self._features.put_image(key, image)
        encode = time.perf_counter() - prepared
        return image, Stay(queue=prepared - asked - prepare, prepare=prepare, encode=encode)

    async def whole(
        self, key: bytes, pieces: Sequence[Piece], add_special_tokens: bool, eyes: Eyes
    ) -> tuple[Prepared, EmbeddedImage, Stay]:
        """A prompt, prepared as one, and all of its images. Raises PreparationRefused.

        key: of the images, in any prompt.
        """
        asked = time.perf_counter()
        async with self._places:
            prompt, prepare = await self._workers.prepare(pieces, add_special_tokens)
            prepared = time.perf_counter()
            image = self._features.image(key)
            is_known = image is not None
            if image is None:
                image, _ = await self._flights.run(key, lambda: self._new_images(key, prompt, eyes))
        encode = time.perf_counter() - prepared
        queue = prepared - asked - prepare
        stay = Stay(queue=queue, prepare=prepare, encode=encode, is_known=is_known)
        return prompt, image, stay

    async def _new_images(
        self, key: bytes, prompt: Prepared, eyes: Eyes
    ) -> tuple[EmbeddedImage, Stay]:
        embeddings = await _encode(prompt.inputs, len(prompt.places), eyes)
        image = EmbeddedImage(embeddings=embeddings)
        self._features.put_image(key, image)
        return image, Stay()


async def _encode(inputs: Mapping[str, NDArray[Any]], num_embeddings: int, eyes: Eyes) -> Tensor:
    names = eyes.network.pixel_names(inputs)
    pixels = {name: torch.from_numpy(inputs[name]) for name in names}
    return await asyncio.wrap_future(eyes.encoder.encode(pixels, num_embeddings))
