"""Image features: what the encoder made of images, where they stand in prompts, and their cache."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inlay_shard.images.preparation import Expansion
from inlay_shard.machine.memory import free_bytes

_SHARES = {"cpu": (0.05, 1 << 30), "cuda": (0.02, 4 << 30)}
"""Part of the free memory for embeddings, and the most of it in bytes, by device."""


def default_cache_bytes(device: torch.device) -> int:
    """Memory for the embeddings of images that may be wanted again."""
    share, max_bytes = _SHARES[device.type]
    return min(max_bytes, int(share * free_bytes(device)))


@dataclass(frozen=True, kw_only=True)
class EmbeddedImage:
    """What stands in a prompt for an image; or, where a processor mixes them, for several."""

    embeddings: Tensor
    """(n, width), on the model's device."""
    expansion: Expansion | None = None
    """How the image is spliced into a prompt, without its pixels; None if it cannot be."""

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        held = self.embeddings.numel() * self.embeddings.element_size()
        return held + (0 if self.expansion is None else self.expansion.num_bytes)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where images stand in one prompt."""

    places: NDArray[np.int64]
    """Positions of the placeholders, ascending: (n,)."""
    prompt_positions: NDArray[np.int64] | None
    """(axes, prompt tokens), as M-RoPE has them; None when positions count up."""
    prompt_stops: NDArray[np.int32] | None = None
    """(prompt tokens,): each sees the positions below; None when it sees none behind its own."""

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        others = (self.prompt_positions, self.prompt_stops)
        return self.places.nbytes + sum(entry.nbytes for entry in others if entry is not None)


@dataclass(frozen=True, eq=False)
class Features:
    """The images of one prompt and where they stand in it; whoever holds it pins them."""

    images: Sequence[EmbeddedImage]
    placement: Placement

    def within(self, start: int, end: int) -> tuple[NDArray[np.int64], Tensor]:
        """Places in [start, end), and the embeddings that stand there."""
        places = self.placement.places
        first, last = np.searchsorted(places, (start, end)).tolist()
        if first == last:
            return places[:0], Tensor()
        return places[first:last], torch.cat(list(self._embeddings(first, last)))

    def _embeddings(self, first: int, last: int) -> Iterator[Tensor]:
        """Those of the places [first, last), image by image."""
        offset = 0
        for image in self.images:
            part = image.embeddings[max(first - offset, 0) : max(last - offset, 0)]
            if len(part):
                yield part
            offset += len(image.embeddings)

    def positions(self, start: int, end: int) -> NDArray[np.int64] | None:
        """Positions (axes, end - start) of the tokens [start, end); None when they count up.

        Behind the prompt all axes go on from its highest position.
        """
        prompt = self.placement.prompt_positions
        if prompt is None:
            return None
        num_axes, num_prompt_tokens = prompt.shape
        first_behind = max(start, num_prompt_tokens)
        offset = int(prompt.max()) + 1 - num_prompt_tokens
        behind = np.arange(first_behind, max(end, first_behind)) + offset
        tail = np.broadcast_to(behind, (num_axes, len(behind)))
        return np.concatenate([prompt[:, start:end], tail], 1)

    def stops(self, start: int, end: int) -> NDArray[np.int32] | None:
        """Positions that the tokens [start, end) see are below these: (end - start,).

        None when each sees itself and what is before it.
        """
        stops = self.placement.prompt_stops
        if stops is None or start >= len(stops):
            return None
        behind = np.arange(max(start, len(stops)), max(end, len(stops)), dtype=np.int32) + 1
        return np.concatenate([stops[start:end], behind])

    def cuts_image(self, end: int) -> bool:
        """Whether tokens before `end` see some that are not."""
        stops = self.placement.prompt_stops
        return stops is not None and end <= len(stops) and int(stops[end - 1]) > end


@dataclass(frozen=True)
class _Prompt:
    """A prompt in the cache; its images are kept beside it."""

    image_keys: Sequence[bytes]
    placement: Placement

    @property
    def num_bytes(self) -> int:
        return self.placement.num_bytes


class FeatureCache:
    """Images and prompts by key, up to a number of bytes; the least recently used go first, but
    none whose Features someone holds. For any thread.

    Images are kept apart from the prompts that they stand in, so that the same image in another
    prompt is not embedded again.
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        """May be changed."""
        self._entries: OrderedDict[bytes, EmbeddedImage | _Prompt] = OrderedDict()
        self._held: WeakSet[Features] = WeakSet()
        self._num_bytes = 0
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"FeatureCache({len(self._entries)} entries, {self._num_bytes} bytes)"

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return self._num_bytes

    def image(self, key: bytes) -> EmbeddedImage | None:
        """An image, which becomes the youngest; None if it is not or no longer there."""
        with self._lock:
            entry = self._find(key)
        return entry if isinstance(entry, EmbeddedImage) else None

    def put_image(self, key: bytes, image: EmbeddedImage) -> None:
        """Keep an image."""
        with self._lock:
            self._put(key, image)
            self._shrink(image)

    def put(
        self,
        key: bytes,
        image_keys: Sequence[bytes],
        images: Sequence[EmbeddedImage],
        placement: Placement,
    ) -> None:
        """Keep a prompt, and its images where they are not there any more."""
        with self._lock:
            for image_key, image in zip(image_keys, images, strict=True):
                if self._find(image_key) is None:
                    self._put(image_key, image)
            self._put(key, _Prompt(image_keys, placement))
            self._shrink(placement, *(self._entries[image_key] for image_key in image_keys))

    def get(self, key: bytes) -> Features | None:
        """The features of a prompt, which become the youngest; None if any is not there."""
        with self._lock:
            prompt = self._find(key)
            if not isinstance(prompt, _Prompt):
                return None
            images = [self._find(image_key) for image_key in prompt.image_keys]
            found = [image for image in images if isinstance(image, EmbeddedImage)]
            if len(found) < len(images):
                return None
            features = Features(found, prompt.placement)
            self._held.add(features)
            return features

    def _find(self, key: bytes) -> EmbeddedImage | _Prompt | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def _put(self, key: bytes, entry: EmbeddedImage | _Prompt) -> None:
        known = self._entries.pop(key, None)
        self._num_bytes += entry.num_bytes - (0 if known is None else known.num_bytes)
        self._entries[key] = entry

    def _shrink(self, *new: object) -> None:
        """Forget the oldest that are neither held nor new until the rest fits."""
        if self._num_bytes <= self.max_bytes:
            return
        pinned = {id(part) for features in self._held for part in _parts(features)}
        pinned |= {id(part) for part in new}
        for key, entry in list(self._entries.items()):
            if self._num_bytes <= self.max_bytes:
                return
            part = entry.placement if isinstance(entry, _Prompt) else entry
            if id(part) not in pinned:
                self._num_bytes -= entry.num_bytes
                del self._entries[key]


def _parts(features: Features) -> Iterator[object]:
    yield features.placement
    yield from features.images
