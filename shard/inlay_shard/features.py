"""Image features that prompts name: prepared once, embedded once, forgotten by age."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed

Encode = Callable[[Mapping[str, Tensor]], Tensor]
"""Embeds what the processor made of images: (n, hidden)."""


class Images:
    """The images of a prompt: pixels until they are first needed, embeddings from then on."""

    def __init__(self, pixels: Mapping[str, Tensor]) -> None:
        """pixels: what the model's processor made of them, by argument name."""
        self._pixels: Mapping[str, Tensor] | None = pixels
        self._embeddings: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Memory held now."""
        held = [self._embeddings] if self._embeddings is not None else []
        held += list((self._pixels or {}).values())
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    @property
    def is_embedded(self) -> bool:
        """Whether the embeddings are there."""
        return self._embeddings is not None

    @property
    def embeddings(self) -> Tensor:
        """(n, hidden), once embedded."""
        assert self._embeddings is not None, "images are embedded before their row is laid out"
        return self._embeddings

    def embed(self, encode: Encode) -> None:
        """Turn the pixels into embeddings, and drop them."""
        assert self._pixels is not None
        self._embeddings = encode(self._pixels)
        self._pixels = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where images stand in one prompt."""

    places: NDArray[np.int64]
    """Positions of the placeholders, ascending: (n,)."""
    prompt_positions: NDArray[np.int64] | None
    """(3, prompt tokens) for M-RoPE; None when positions count up."""

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        positions = self.prompt_positions
        return self.places.nbytes + (0 if positions is None else positions.nbytes)


@dataclass(frozen=True)
class Features:
    """The images of one prompt and where they stand in it."""

    images: Images
    placement: Placement

    @property
    def num_bytes(self) -> int:
        """Memory held now."""
        return self.images.num_bytes + self.placement.num_bytes

    def needs_embedding(self, start: int, end: int) -> bool:
        """Whether a row of the tokens [start, end) needs embeddings that are not there."""
        if self.images.is_embedded:
            return False
        first, last = np.searchsorted(self.placement.places, (start, end))
        return bool(first < last)

    def embed(self, encode: Encode) -> None:
        """Embed the images. Raises RowFailed when they do not fill their places."""
        self.images.embed(encode)
        self.check()

    def check(self) -> None:
        """Raise RowFailed unless there is one embedding for each place."""
        num_places, num_embeddings = len(self.placement.places), len(self.images.embeddings)
        if num_places != num_embeddings:
            raise RowFailed(
                pb.RowFailure.KIND_INVALID,
                f"the prompt has {num_places} places for images, its images fill {num_embeddings}",
            )

    def within(self, start: int, end: int) -> tuple[NDArray[np.int64], Tensor]:
        """Places in [start, end), and the embeddings that stand there."""
        first, last = np.searchsorted(self.placement.places, (start, end))
        if first == last:
            return self.placement.places[:0], Tensor()
        return self.placement.places[first:last], self.images.embeddings[first:last]

    def positions(self, start: int, end: int) -> NDArray[np.int64] | None:
        """Positions (3, end - start) of the tokens [start, end); None when they count up.

        Behind the prompt all axes go on from its highest position.
        """
        prompt = self.placement.prompt_positions
        if prompt is None:
            return None
        num_prompt_tokens = prompt.shape[1]
        first_behind = max(start, num_prompt_tokens)
        offset = int(prompt.max()) + 1 - num_prompt_tokens
        behind = np.arange(first_behind, max(end, first_behind)) + offset
        return np.concatenate([prompt[:, start:end], np.broadcast_to(behind, (3, len(behind)))], 1)


class FeatureCache:
    """Features by key, up to a number of bytes; the least recently used go first. For any thread.

    Images are kept apart from their placement, so that the same images in another prompt are not
    embedded again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Features] = OrderedDict()
        self._images: dict[bytes, Images] = {}
        self._images_keys: dict[bytes, bytes] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"FeatureCache({len(self._entries)} prompts, {self.num_bytes} bytes)"

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        placements = sum(entry.placement.num_bytes for entry in self._entries.values())
        return placements + sum(images.num_bytes for images in self._images.values())

    def put(self, key: bytes, images_key: bytes, images: Images, placement: Placement) -> None:
        """Keep the features of a prompt under `key`, with the images already known if any are."""
        with self._lock:
            known = self._images.setdefault(images_key, images)
            self._entries[key] = Features(known, placement)
            self._images_keys[key] = images_key
            self._entries.move_to_end(key)
            self._shrink()

    def get(self, key: bytes) -> Features | None:
        """The features, which become the youngest; None if they are not or no longer there."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def _shrink(self) -> None:
        """Forget the oldest until the rest fits; the youngest always stays."""
        while len(self._entries) > 1 and self.num_bytes > self._max_bytes:
            key, _ = self._entries.popitem(last=False)
            images_key = self._images_keys.pop(key)
            if images_key not in self._images_keys.values():
                del self._images[images_key]
