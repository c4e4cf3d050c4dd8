"""The processes that prepare images: what kills one, what it is killed for, and who is told."""

import asyncio
import io
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from local_shard import picture
from mischief import hang, kill_self, limit_memory, stumble, take_memory
from PIL import Image
from tiny_models import make_tiny

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.image_workers import ImageWorkers, default_num_workers
from inlay_shard.images.preparation import load_preparer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llava", tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def workers(folder: Path) -> Iterator[ImageWorkers]:
    workers = ImageWorkers(folder, 1)
    assert workers.ask_takes_images().result(120)
    yield workers
    workers.stop()
    assert workers.process_ids == []


def test_arrays_come_back(workers: ImageWorkers, folder: Path) -> None:
    preparer = load_preparer(folder)
    assert preparer is not None
    expected = preparer.expand(picture(1))
    found, seconds = asyncio.run(workers.expand(picture(1)))
    assert seconds > 0
    assert found.token_ids.tolist() == expected.token_ids.tolist()
    assert found.inputs.keys() == expected.inputs.keys()
    for name, array in expected.inputs.items():
        assert np.array_equal(found.inputs[name], array)
    prompt, _ = asyncio.run(workers.prepare([picture(1), "?"], True))
    assert np.array_equal(prompt.places, np.arange(16))
    assert asyncio.run(workers.recipe()).can_splice


def test_a_refusal_keeps_its_words_and_the_process(workers: ImageWorkers) -> None:
    before = workers.process_ids
    with pytest.raises(PreparationRefused, match="the image cannot be decoded"):
        asyncio.run(workers.expand(b"no image"))
    assert workers.process_ids == before


def test_a_fault_keeps_its_words_from_the_client_and_the_process(workers: ImageWorkers) -> None:
    before = workers.process_ids
    with pytest.raises(PreparationRefused, match="^the images cannot be prepared$"):
        asyncio.run(workers._ask(stumble))
    assert workers.process_ids == before


def test_an_image_that_takes_all_memory_is_refused_alone(folder: Path) -> None:
    """10,000 pixels square in 300 KB: 300 MB, and as much again for each form it goes through."""
    large = io.BytesIO()
    Image.new("P", (10_000, 10_000)).save(large, "PNG")
    small = ImageWorkers(folder, 1)
    try:
        asyncio.run(small._ask(partial(limit_memory, 200 << 20)))
        before = small.process_ids
        with pytest.raises(PreparationRefused, match="too large to decode|too much memory"):
            asyncio.run(small.expand(large.getvalue()))
        assert asyncio.run(small.expand(picture(1)))[0].num_places == 16
        assert small.process_ids == before
    finally:
        small.stop()


def test_worker_that_died_is_replaced(workers: ImageWorkers) -> None:
    (before,) = workers.process_ids
    assert before is not None
    os.kill(before, signal.SIGKILL)
    prompt, _ = asyncio.run(workers.prepare([picture(1), "?"], True))
    assert np.array_equal(prompt.places, np.arange(16))
    assert workers.process_ids != [before]


def test_what_kills_every_worker_is_refused(workers: ImageWorkers) -> None:
    with pytest.raises(PreparationRefused, match="the model's processor died of the images"):
        asyncio.run(workers._ask(kill_self))
    assert asyncio.run(workers.expand(picture(1)))


def test_a_worker_cannot_take_all_memory(workers: ImageWorkers) -> None:
    assert asyncio.run(workers._ask(partial(take_memory, 1 << 20)))[0] == 1 << 20
    with pytest.raises(PreparationRefused, match="too much"):
        asyncio.run(workers._ask(partial(take_memory, 6 << 30)))


def test_a_worker_that_hangs_is_killed(folder: Path) -> None:
    workers = ImageWorkers(folder, 1, patience=0.2)
    try:
        assert workers.ask_takes_images().result(120)
        (before,) = workers.process_ids
        words = "the images took longer than 0.2 seconds to prepare"
        with pytest.raises(PreparationRefused, match=words):
            asyncio.run(workers._ask(hang))
        assert workers.process_ids == []
        assert before is not None
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
    finally:
        workers.stop()


def test_stop_does_not_wait_for_what_hangs(folder: Path) -> None:
    workers = ImageWorkers(folder, 1)
    assert workers.ask_takes_images().result(120)
    asking = workers._threads.submit(workers._do, hang)
    workers.stop()
    with pytest.raises((PreparationRefused, CancelledError)):
        asking.result(60)


def test_a_model_without_eyes_is_said_to_have_none(tmp_path: Path) -> None:
    workers = ImageWorkers(make_tiny("llama", tmp_path), 1)
    try:
        assert not workers.ask_takes_images().result(120)
        with pytest.raises(PreparationRefused, match="takes no images"):
            asyncio.run(workers.expand(picture(1)))
    finally:
        workers.stop()


def test_workers_leave_most_cores_to_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for num_cores, num_shards, expected in [
        (1, 1, 1),
        (2, 1, 1),
        (16, 1, 4),
        (16, 2, 2),
        (96, 1, 8),
    ]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=num_cores: set(range(n)))
        assert default_num_workers(num_shards) == expected


def test_a_worker_that_is_killed_while_it_starts_does_not_make_the_model_blind(
    folder: Path,
) -> None:
    own = ImageWorkers(folder, 1)
    try:
        asked = own.ask_takes_images()
        while not own.process_ids and not asked.done():
            time.sleep(0.001)
        os.kill(own.process_ids[0], signal.SIGKILL)
        assert asked.result(120)
    finally:
        own.stop()
