"""The thread that embeds images, apart from the steps, so that no stream waits for an image."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from inlay_shard.errors import ModelRefused, PreparationRefused
from inlay_shard.machine.stopwatch import Stopwatch
from inlay_shard.model.network import Network

NICENESS = 10
"""Added to that of the shard. At 10 a decode step beside the encoder takes 1.3 times as long as
alone, and the encoder still gets what steps leave of the cores."""
MAX_BATCH_VALUES = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Numbers in the pixels of a batch, by device. On a CPU more leave its caches, and the first image
of the batch would wait for the last: four of 512 x 512 take 7 % longer together."""

Pixels = Mapping[str, Tensor]
"""What the model's processor made of an image, by argument name of its encoder."""


@dataclass(frozen=True, eq=False)
class _Work:
    pixels: Pixels
    num_embeddings: int
    result: Future[Tensor] = field(default_factory=Future)

    @property
    def kind(self) -> object:
        """Images of one kind can be embedded together: one behind the other in each input."""
        return {name: (entry.shape[1:], entry.dtype) for name, entry in self.pixels.items()}

    @property
    def num_values(self) -> int:
        return sum(entry.numel() for entry in self.pixels.values())


class Encoder:
    """Embeds images in the order in which they come, those of one kind together."""

    def __init__(
        self, network: Network, *, num_threads: Callable[[], int], max_batch_images: int
    ) -> None:
        """Its thread starts with the first image.

        Args:
            network: embeds; steps may run in it at the same time.
            num_threads: how many CPU threads may compute; asked before each part of a layer, as
                steps begin and end while an image is embedded.
            max_batch_images: embedded together at most. Sums may differ in their last bits with
                the size of a batch, so ranks that must agree take 1.
        """
        self.watch = Stopwatch()
        """Runs while images are embedded."""
        self._network = network
        self._num_threads = num_threads
        self._max_batch_images = max_batch_images
        self._max_batch_values = MAX_BATCH_VALUES[network.device.type]
        self._waiting: deque[_Work] = deque()
        self._is_stopped = False
        self._has_news = threading.Condition()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Encoder({len(self._waiting)} waiting)"

    def encode(self, pixels: Pixels, num_embeddings: int) -> Future[Tensor]:
        """Embeddings (num_embeddings, width) on the model's device; for any thread.

        PreparationRefused when the encoder fails or makes another number of them. Cancelling the
        future takes an image that still waits out of the queue.
        """
        work = _Work(pixels, num_embeddings)
        with self._has_news:
            self._waiting.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
                self._thread.start()
            self._has_news.notify()
        return work.result

    def stop(self) -> None:
        """End the thread behind the images that it has begun, and wait for it."""
        with self._has_news:
            self._is_stopped = True
            self._has_news.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """On the thread, as everything below."""
        own_id = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, own_id) + NICENESS
        os.setpriority(os.PRIO_PROCESS, own_id, niceness)
        for part in _parts(self._network):
            part.register_forward_pre_hook(lambda *_: self._adapt(own_id))
        with torch.inference_mode(), _own_stream(self._network.device):
            while not self._is_stopped:
                self._embed(self._next_batch())

    def _adapt(self, own_id: int) -> None:
        """Compute with as many threads as there may be; they inherit the priority of this one."""
        num_threads = self._num_threads()
        if threading.get_native_id() == own_id and num_threads != torch.get_num_threads():
            torch.set_num_threads(num_threads)  # for this thread alone

    def _next_batch(self) -> list[_Work]:
        """The oldest that waits, with as many others of its kind as fit."""
        with self._has_news:
            self._has_news.wait_for(lambda: self._waiting or self._is_stopped)
            if self._is_stopped:
                return []
            chosen = [self._waiting.popleft()]
            num_values = chosen[0].num_values
            for work in list(self._waiting):
                num_values += work.num_values
                if len(chosen) == self._max_batch_images or num_values > self._max_batch_values:
                    break
                if work.kind == chosen[0].kind:
                    self._waiting.remove(work)
                    chosen.append(work)
        return [work for work in chosen if work.result.set_running_or_notify_cancel()]

    def _embed(self, batch: Sequence[_Work]) -> None:
        """Settle the results; what fails together is tried alone."""
        if not batch:
            return
        self._adapt(threading.get_native_id())
        try:
            with self.watch.running():
                embeddings = self._encode(batch)
        except Exception as error:
            if len(batch) > 1:
                for work in batch:
                    self._embed([work])
            else:
                batch[0].result.set_exception(_refusal(error))
            return
        for work, own in zip(batch, embeddings, strict=True):
            work.result.set_result(own)

    def _encode(self, batch: Sequence[_Work]) -> Sequence[Tensor]:
        pixels = batch[0].pixels
        if len(batch) > 1:
            pixels = {name: torch.cat([work.pixels[name] for work in batch]) for name in pixels}
        embeddings = self._network.encode_images(pixels)
        counts = [work.num_embeddings for work in batch]
        if len(embeddings) != sum(counts):
            raise PreparationRefused(
                f"the prompt has {sum(counts)} places for images, its images fill {len(embeddings)}"
            )
        own = [embeddings]
        if len(batch) > 1:  # copies, so that each is freed by itself
            own = [part.clone() for part in torch.split(embeddings, counts)]
        _hand_over(own)
        return own


def _hand_over(embeddings: Sequence[Tensor]) -> None:
    """Make them ready for the stream of the steps."""
    for entry in embeddings:
        if entry.is_cuda:
            entry.record_stream(torch.cuda.default_stream(entry.device))
            torch.cuda.current_stream(entry.device).synchronize()


def _parts(network: Network) -> Iterator[nn.Module]:
    """Layers outside of the text tower, which stand in a row of their kind, and all within them."""
    tower = set(network.text_tower.modules())
    rows = (module for module in network.model.modules() if isinstance(module, nn.ModuleList))
    found = (part for row in rows if row not in tower for part in row.modules() if part is not row)
    yield from dict.fromkeys(found)  # a row may stand within another


def check_replicated(network: Network) -> None:
    """Raise ModelRefused when ranks would have to talk while they embed images.

    Each embeds on a thread of its own, so what they said would get between the words of their
    steps. Tensor-parallel plans of `transformers` split text towers alone.
    """
    inside = {id(parameter) for parameter in network.text_tower.parameters()}
    head = network.model.get_output_embeddings()
    inside |= {id(parameter) for parameter in head.parameters()} if head is not None else set()
    for name, parameter in network.model.named_parameters():
        if isinstance(parameter, DTensor) and id(parameter) not in inside:
            raise ModelRefused(f"{name} is split over the shards outside of its text tower")


def _refusal(error: Exception) -> PreparationRefused:
    if isinstance(error, PreparationRefused):
        return error
    return PreparationRefused(f"the images could not be embedded: {error}")


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Within, a CUDA device computes beside its steps."""
    if device.type != "cuda":
        yield
        return
    make_stream: Any = torch.cuda.Stream
    with torch.cuda.device(device), torch.cuda.stream(make_stream(device)):
        yield
