"""Images of several sizes, together or one by one: the same embeddings, the same text."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from driver import Driver
from local_shard import Shard, picture, start_shard
from tiny_models import TAKE_IMAGES, make_tiny
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.encoder.encoder import NICENESS, Encoder, Pixels, _parts, check_replicated
from inlay_shard.errors import ModelRefused
from inlay_shard.images.preparation import Preparer, load_preparer
from inlay_shard.images.recipe import Piece

SIZES = [(48, 40), (30, 70), (100, 20), (48, 40), (64, 64), (30, 70)]
IMAGES = [picture(n, *size) for n, size in enumerate(SIZES)]


@pytest.fixture(scope="module", params=TAKE_IMAGES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family: str = request.param
    return make_tiny(family, tmp_path_factory.mktemp("models") / family)


@pytest.fixture(scope="module")
def shard(folder: Path) -> Shard:
    return start_shard(folder, takes_images=True)


@pytest.fixture(scope="module")
def preparer(folder: Path) -> Preparer:
    loaded = load_preparer(folder)
    assert loaded is not None
    return loaded


class Recording:
    """A network that waits before its first images, and notes what it is given."""

    def __init__(self, shard: Shard) -> None:
        self._network = shard.ready.network
        self.device = self._network.device
        self.model: Any = torch.nn.Module()
        self.text_tower: Any = torch.nn.Module()
        self.may_go_on = threading.Event()
        self.num_calls = 0

    def encode_images(self, pixels: Pixels) -> Tensor:
        assert self.may_go_on.wait(60)
        self.num_calls += 1
        return self._network.encode_images(pixels)


def pixels_of(shard: Shard, preparer: Preparer, image: bytes) -> tuple[Pixels, int]:
    """What the encoder is given of an image."""
    expansion = preparer.expand(image)
    names = shard.ready.network.pixel_names(expansion.inputs)
    pixels = {name: torch.from_numpy(expansion.inputs[name]) for name in names}
    return pixels, expansion.num_places


def embed_all(shard: Shard, preparer: Preparer, max_batch_images: int) -> tuple[list[Tensor], int]:
    """Embeddings of IMAGES, all of which wait before the first is embedded; passes it took."""
    network: Any = Recording(shard)
    encoder = Encoder(network, num_threads=lambda: 1, max_batch_images=max_batch_images)
    waiting = [encoder.encode(*pixels_of(shard, preparer, image)) for image in IMAGES]
    network.may_go_on.set()
    return [future.result(60) for future in waiting], network.num_calls


def test_together_as_one_by_one(shard: Shard, preparer: Preparer) -> None:
    alone, num_alone = embed_all(shard, preparer, 1)
    together, num_together = embed_all(shard, preparer, 8)
    assert num_alone == len(IMAGES)
    assert num_together < len(IMAGES)
    for own, shared in zip(alone, together, strict=True):
        torch.testing.assert_close(shared, own, rtol=1e-4, atol=1e-4)
        assert shared.untyped_storage().nbytes() <= own.numel() * own.element_size()


def test_the_next_step_tells_what_embedding_took(shard: Shard, preparer: Preparer) -> None:
    engine, network = shard.ready.engine, shard.ready.network
    encoder = Encoder(network, num_threads=lambda: 1, max_batch_images=8)
    engine.encoder_watch = encoder.watch
    engine.reset()
    assert engine.run(pb.Step(step_id=1)).timings.encode == 0
    encoder.encode(*pixels_of(shard, preparer, IMAGES[0])).result(60)
    encoder.stop()
    told = engine.run(pb.Step(step_id=2)).timings.encode
    assert 0 < told == encoder.watch.nanoseconds
    assert engine.run(pb.Step(step_id=3)).timings.encode == 0, "it was told already"


def test_prompts_of_such_images_equal_generate(shard: Shard, folder: Path) -> None:
    """All images of a prompt come to the encoder at the same time."""
    reference = Reference(folder, takes_images=True)
    prompts: list[list[Piece]] = [
        [*IMAGES[:3], "a"],
        ["b ", *IMAGES[2:]],
        [IMAGES[0], "c", IMAGES[3]],
    ]
    for pieces in prompts:
        reply = shard.prepare(pieces)
        driver = Driver(shard)
        running = driver.add(reply.token_ids, features_key=reply.features_key)
        driver.run()
        assert running.output_ids == reference.generate_seen(pieces)


def test_it_runs_behind_the_steps(shard: Shard, preparer: Preparer) -> None:
    """Its thread, and those that it computes with, have a lower priority than this one."""
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []

    class Asking(Recording):
        def encode_images(self, pixels: Pixels) -> Tensor:
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().encode_images(pixels)

    network: Any = Asking(shard)
    network.may_go_on.set()
    encoder = Encoder(network, num_threads=lambda: 1, max_batch_images=8)
    encoder.encode(*pixels_of(shard, preparer, IMAGES[0])).result(60)
    assert found == [min(19, before + NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_it_uses_the_threads_that_steps_leave(shard: Shard, preparer: Preparer) -> None:
    """Also when that changes within a layer; other threads keep theirs."""
    network: Any = Recording(shard)
    network.may_go_on.set()
    network.model, network.text_tower = shard.ready.network.model, shard.ready.network.text_tower
    allowed = iter([1, *[2, 2, 2, 2], *[1] * 10_000])
    used: list[int] = []

    def note(*_: object) -> None:
        used.append(torch.get_num_threads())

    leaves = [part for part in _parts(network) if not [*part.children()]]
    handles = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        encoder = Encoder(network, num_threads=lambda: next(allowed), max_batch_images=8)
        encoder.encode(*pixels_of(shard, preparer, IMAGES[0])).result(60)
    finally:
        for handle in handles:
            handle.remove()
    assert used[0] == 2 and 1 in used[:6]
    assert torch.get_num_threads() == 1


def test_an_encoder_that_is_split_over_ranks_is_refused(shard: Shard) -> None:
    network = shard.ready.network
    check_replicated(network)
    layer: Any = next(_parts(network))
    name, whole = next(iter(layer.named_parameters()))
    owner = layer.get_submodule(name.rpartition(".")[0])
    own_name = name.rpartition(".")[2]
    split = torch.nn.Parameter(as_split(whole), requires_grad=False)
    setattr(owner, own_name, split)
    try:
        with pytest.raises(ModelRefused, match="is split over the shards outside of its text"):
            check_replicated(network)
    finally:
        setattr(owner, own_name, whole)


def as_split(tensor: Tensor) -> Tensor:
    """A DTensor, as transformers make them, on a group of one rank."""
    dist: Any = torch.distributed
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        return distribute_tensor(tensor, init_device_mesh("cpu", (1,)), [Replicate()])
    finally:
        dist.destroy_process_group()
