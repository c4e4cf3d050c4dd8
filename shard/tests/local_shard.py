"""A shard in this process, loaded as its own process loads it, and pictures to ask it about."""

import asyncio
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import BLOCK_SIZE
from PIL import Image
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.config import ShardConfig
from inlay_shard.encoder.encoder import Encoder
from inlay_shard.images.desk import ImageDesk
from inlay_shard.images.embedding import Eyes
from inlay_shard.images.features import FeatureCache
from inlay_shard.images.preparation import Expansion, Prepared
from inlay_shard.images.preparers import find_preparer
from inlay_shard.images.recipe import Piece, Recipe
from inlay_shard.images.splice_proof import prove
from inlay_shard.startup import Ready, start


class InlineWorkers:
    """Prepares images in this process."""

    num_workers = 1

    def __init__(self, folder: Path, plugins: Sequence[str] = ()) -> None:
        preparer = find_preparer(folder, plugins)
        assert preparer is not None
        self._preparer = preparer

    async def recipe(self) -> Recipe:
        """As `ImageWorkers.recipe`."""
        return prove(self._preparer)

    async def expand(self, image: bytes) -> tuple[Expansion, float]:
        """As `ImageWorkers.expand`."""
        return self._preparer.expand(image), 0.0

    async def prepare(
        self, pieces: Sequence[Piece], add_special_tokens: bool
    ) -> tuple[Prepared, float]:
        """As `ImageWorkers.prepare`."""
        return self._preparer.prepare(pieces, add_special_tokens), 0.0


@dataclass
class Shard:
    """An engine in this process, with what is around it."""

    folder: Path
    ready: Ready
    features: FeatureCache
    desk: ImageDesk | None
    eyes: Eyes

    @property
    def facts(self) -> pb.ModelFacts:
        """Of its model."""
        return self.ready.facts

    def prepare(self, pieces: Sequence[Piece]) -> pb.PrepareReply:
        """The prompt of text and encoded images."""
        assert self.desk is not None
        return asyncio.run(self.desk.prepare(prepare_request(pieces), self.eyes))

    def run(self, step: pb.Step) -> pb.StepResult:
        """One step."""
        return self.ready.engine.run(step)


def prepare_request(pieces: Sequence[Piece]) -> pb.PrepareRequest:
    """The message that asks for a prompt of text and encoded images."""
    return pb.PrepareRequest(chunks=[_chunk(piece) for piece in pieces], add_special_tokens=True)


def _chunk(piece: Piece) -> pb.Chunk:
    if isinstance(piece, str):
        return pb.Chunk(text=piece)
    if isinstance(piece, pb.ImageEmbeds):
        return pb.Chunk(embeds=piece)
    return pb.Chunk(image=pb.Image(data=piece, digest=hashlib.sha256(piece).digest()))


def embeds_of(numbers: Tensor) -> pb.ImageEmbeds:
    """Embeddings (n, width) in an image's stead, as the router sends them."""
    data = numbers.cpu().contiguous().view(torch.uint8).numpy().tobytes()
    dtype = str(numbers.dtype).removeprefix("torch.")
    num_tokens, width = numbers.shape
    digest = hashlib.sha256(f"{dtype} {num_tokens} {width}\n".encode() + data).digest()
    return pb.ImageEmbeds(data=data, dtype=dtype, num_tokens=num_tokens, width=width, digest=digest)


def start_shard(folder: Path, *, takes_images: bool = False, **options: Any) -> Shard:
    """Load a model folder in float32 on one thread."""
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"dtype": "float32", "device": "cpu", "num_blocks": 256}
    settings |= {"block_size": BLOCK_SIZE} | options
    config = ShardConfig(model=folder, model_id=folder.name, address="", **settings)
    features = FeatureCache(1 << 24)
    ready = start(config, features, lambda: takes_images, lambda words: None)
    encoder = Encoder(ready.network, num_threads=lambda: 1, max_batch_images=8)
    eyes = Eyes(network=ready.network, encoder=encoder)
    desk = None
    if takes_images:
        desk = ImageDesk(InlineWorkers(folder, config.plugins), features, folder)
    return Shard(folder, ready, features, desk, eyes)


def picture(seed: int, width: int = 48, height: int = 40) -> bytes:
    """A PNG of coarse random colours."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
