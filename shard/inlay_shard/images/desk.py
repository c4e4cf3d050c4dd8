"""Answers to Prepare: prompts with images get a name, under which steps find their features."""

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch

from inlay_grammars.cache import RecentlyUsed
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.embedding import Embedder, Eyes, Prepares, Stay
from inlay_shard.images.features import EmbeddedImage, FeatureCache, Placement
from inlay_shard.images.preparation import Prepared
from inlay_shard.images.processor import settings_digest
from inlay_shard.images.recipe import Piece
from inlay_shard.images.single_flight import SingleFlight
from inlay_shard.images.splicing import Splicer
from inlay_shard.model.network import Network
from inlay_shard.model.view import View, runs

Found = TypeVar("Found")

_NO_EMBEDS_HERE = (
    "`image_embeds` cannot stand at this place: for this model only the image itself can be put "
    "into a prompt there"
)
MAX_REPLIES = 256
"""Prompts whose answers are kept, for those who send the same prompt again."""


class ImageDesk:
    """Takes prompts with images in; names their features, and keeps them under that name."""

    def __init__(self, workers: Prepares, features: FeatureCache, folder: Path) -> None:
        """folder: the model whose processor the workers run."""
        self._workers = workers
        self._features = features
        self._embedder = Embedder(workers, features)
        self._settings = settings_digest(folder)
        self._replies: RecentlyUsed[pb.PrepareReply] = RecentlyUsed(MAX_REPLIES)
        self._splicer: Splicer | None = None
        self._is_found_out = False
        self._finding: SingleFlight[Splicer | None] = SingleFlight()

    async def prepare(self, request: pb.PrepareRequest, eyes: Eyes) -> pb.PrepareReply:
        """Prepare a prompt and keep its features. Raises PreparationRefused."""
        key = _prompt_key(request)
        known = self._replies.get(key)
        if known is not None and self._features.get(known.features_key) is not None:
            return known
        pieces = [_piece(chunk) for chunk in request.chunks]
        splicer = await self.find_out()
        if splicer is not None and splicer.can_splice(pieces):
            reply = await self._spliced(request, pieces, splicer, eyes)
        elif any(isinstance(piece, pb.ImageEmbeds) for piece in pieces):
            raise PreparationRefused(_NO_EMBEDS_HERE)
        else:
            reply = await self._whole(request, pieces, eyes)
        self._remember(key, reply)
        return reply

    async def find_out(self) -> Splicer | None:
        """What splices prompts for this model; None if that is not proven to be right.

        Takes a worker a second or so the first time.
        """
        if not self._is_found_out:
            self._splicer = await self._finding.run(b"", self._load_splicer)
            self._is_found_out = True
        return self._splicer

    async def warm_up(self) -> None:
        """Find out ahead of the first prompt, which tries again what fails here."""
        with suppress(Exception):
            await self.find_out()

    async def _load_splicer(self) -> Splicer | None:
        recipe = await self._workers.recipe()
        return await asyncio.to_thread(Splicer, recipe) if recipe.can_splice else None

    async def _spliced(
        self,
        request: pb.PrepareRequest,
        pieces: Sequence[Piece],
        splicer: Splicer,
        eyes: Eyes,
    ) -> pb.PrepareReply:
        """From what each image is in any prompt."""
        keys = [_key(self._settings, digest) for digest in _digests(request)]
        seen = dict(zip(keys, _images(pieces), strict=True))
        recipe = splicer.recipe
        found = await _together(
            self._embedder.image(key, piece, eyes)
            if isinstance(piece, bytes)
            else self._embedder.given(key, piece, recipe, eyes)
            for key, piece in seen.items()
        )
        by_key = {key: image for key, (image, _) in zip(seen, found, strict=True)}
        images = [by_key[key] for key in keys]
        expansions = [image.expansion for image in images if image.expansion is not None]
        prompt = await asyncio.to_thread(
            splicer.splice, pieces, expansions, request.add_special_tokens
        )
        return await asyncio.to_thread(
            self._keep, prompt, keys, keys, images, [stay for _, stay in found], eyes.network
        )

    async def _whole(
        self, request: pb.PrepareRequest, pieces: Sequence[Piece], eyes: Eyes
    ) -> pb.PrepareReply:
        """By the processor, which may make of an image what depends on the others."""
        key = _key(self._settings, *_digests(request))
        prompt, images, stay = await self._embedder.whole(
            key, pieces, request.add_special_tokens, eyes
        )
        digests = [_key(key, place.to_bytes(4, "little")) for place in range(len(prompt.spans))]
        return await asyncio.to_thread(
            self._keep, prompt, digests, [key], [images], [stay], eyes.network
        )

    def _keep(
        self,
        prompt: Prepared,
        digests: Sequence[bytes],
        image_keys: Sequence[bytes],
        images: Sequence[EmbeddedImage],
        stays: Sequence[Stay],
        network: Network,
    ) -> pb.PrepareReply:
        """Name the features of a prompt, and answer. On another thread, as positions take time."""
        num_tokens = len(prompt.token_ids)
        spans = prompt.spans
        features_key = _key(
            *image_keys, num_tokens.to_bytes(8, "little"), prompt.places.astype("<i8").tobytes()
        )
        if network.view is View.PROMPT:
            spans = [(0, num_tokens)] * len(spans)
            token_ids = prompt.token_ids.astype("<i8").tobytes()
            digests = [_key(digest, features_key, token_ids) for digest in digests]
        self._features.put(features_key, image_keys, images, _placement(prompt, network))
        places = zip(spans, digests, strict=True)
        return pb.PrepareReply(
            token_ids=prompt.token_ids.tolist(),
            images=[pb.ImagePlace(start=a, length=b - a, digest=name) for (a, b), name in places],
            features_key=features_key,
            timings=_timings(stays),
            num_known_images=sum(stay.is_known for stay in stays),
        )

    def _remember(self, key: bytes, reply: pb.PrepareReply) -> None:
        """The same answer for the same prompt, which will wait for nothing."""
        again = pb.PrepareReply()
        again.CopyFrom(reply)
        again.ClearField("timings")
        again.num_known_images = len(reply.images)
        self._replies.put(key, again)


def _placement(prompt: Prepared, network: Network) -> Placement:
    """Raises PreparationRefused for an image that is too long for the model."""
    longest, limit = max(map(len, runs(prompt.places))), network.max_image_tokens
    if limit is not None and longest > limit:
        raise PreparationRefused(
            f"an image takes {longest} tokens, and this model sees {limit} tokens at a time"
        )
    token_ids = torch.from_numpy(prompt.token_ids)
    inputs = {name: torch.from_numpy(array) for name, array in prompt.inputs.items()}
    positions = network.image_positions(token_ids, inputs)
    return Placement(
        places=prompt.places,
        prompt_positions=None if positions is None else positions.numpy(),
        prompt_stops=network.view.stops(prompt.places, len(token_ids)),
    )


def _timings(stays: Sequence[Stay]) -> pb.PrepareTimings:
    return pb.PrepareTimings(
        queue=_nanoseconds(stay.queue for stay in stays),
        prepare=_nanoseconds(stay.prepare for stay in stays),
        encode=_nanoseconds(stay.encode for stay in stays),
    )


def _nanoseconds(seconds: Iterable[float]) -> int:
    return max(0, int(sum(seconds) * 1e9))


def _prompt_key(request: pb.PrepareRequest) -> bytes:
    """Of a prompt: its texts and the digests of its images."""
    pieces = [
        _seen_digest(chunk) or b"t" + hashlib.sha256(chunk.text.encode()).digest()
        for chunk in request.chunks
    ]
    return _key(bytes([request.add_special_tokens]), *pieces)


def _seen_digest(chunk: pb.Chunk) -> bytes:
    """Of an image or embeddings, in one length, and never the same; empty for a text."""
    match chunk.WhichOneof("content"):
        case "image":
            return b"i" + chunk.image.digest
        case "embeds":
            return b"e" + chunk.embeds.digest
    return b""


def _digests(request: pb.PrepareRequest) -> list[bytes]:
    return [digest for chunk in request.chunks if (digest := _seen_digest(chunk))]


def _piece(chunk: pb.Chunk) -> Piece:
    match chunk.WhichOneof("content"):
        case "image":
            return chunk.image.data
        case "embeds":
            return chunk.embeds
    return chunk.text


def _images(pieces: Sequence[Piece]) -> list[bytes | pb.ImageEmbeds]:
    return [piece for piece in pieces if not isinstance(piece, str)]


def _key(*parts: bytes) -> bytes:
    """SHA-256 over parts whose lengths are fixed by their places."""
    return hashlib.sha256(b"".join(parts)).digest()


async def _together(calls: Iterable[Coroutine[Any, Any, Found]]) -> list[Found]:
    """What they give, in order; the first error ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
