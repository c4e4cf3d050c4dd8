"""The processes that prepare images: what kills one, what it is killed for, and who is told."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from driver import picture
from mischief import hang, kill_self, stumble, take_memory
from tiny_models import make_tiny

from inlay_shard.errors import PreparationRefused
from inlay_shard.image_workers import ImageWorkers, default_num_workers
from inlay_shard.preparation import load_preparer


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


def test_a_fault_is_told_and_keeps_the_process(workers: ImageWorkers) -> None:
    before = workers.process_ids
    with pytest.raises(PreparationRefused, match="ZeroDivisionError: by zero"):
        asyncio.run(workers._ask(stumble))
    assert workers.process_ids == before


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
