"""Answers to Prepare: prompts with images get a name, under which steps find their features."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inlay_proto import generate_pb2 as pb
from inlay_shard.features import FeatureCache, Images, Placement
from inlay_shard.image_workers import ImageWorkers
from inlay_shard.network import Network
from inlay_shard.preparation import Piece, Prepared
from inlay_shard.processor import settings_digest


class ImageDesk:
    """Takes prompts with images in; names their features, and keeps them under that name."""

    def __init__(self, workers: ImageWorkers, features: FeatureCache, folder: Path) -> None:
        self._workers = workers
        self._features = features
        self._settings = settings_digest(folder)

    async def prepare(self, request: pb.PrepareRequest, network: Network) -> pb.PrepareReply:
        """Prepare a prompt and keep its features. Raises PreparationRefused."""
        pieces: list[Piece] = [
            chunk.image.data if chunk.WhichOneof("content") == "image" else chunk.text
            for chunk in request.chunks
        ]
        digests = [c.image.digest for c in request.chunks if c.WhichOneof("content") == "image"]
        prepared = await self._workers.prepare(pieces, request.add_special_tokens)
        return await asyncio.to_thread(self._keep, prepared, digests, network)

    def _keep(
        self, prepared: Prepared, digests: Sequence[bytes], network: Network
    ) -> pb.PrepareReply:
        inputs = {name: torch.from_numpy(array) for name, array in prepared.inputs.items()}
        token_ids = torch.from_numpy(prepared.token_ids)
        positions = network.image_positions(token_ids, inputs)
        placement = Placement(
            places=prepared.places,
            prompt_positions=None if positions is None else positions.numpy(),
        )
        images_key = hashlib.sha256(self._settings + b"".join(digests)).digest()
        features_key = _features_key(images_key, len(token_ids), prepared.places)
        pixels = {name: inputs[name] for name in network.pixel_names(inputs)}
        self._features.put(features_key, images_key, Images(pixels), placement)
        return pb.PrepareReply(
            token_ids=prepared.token_ids.tolist(),
            images=[pb.ImagePlace(start=a, length=b - a) for a, b in prepared.spans],
            features_key=features_key,
        )


def _features_key(images_key: bytes, num_tokens: int, places: NDArray[np.int64]) -> bytes:
    """SHA-256 over the images, the processor's settings and where the placeholders stand."""
    digest = hashlib.sha256(images_key)
    digest.update(num_tokens.to_bytes(8, "little"))
    digest.update(places.astype("<i8").tobytes())
    return digest.digest()
