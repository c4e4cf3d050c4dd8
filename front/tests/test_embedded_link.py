"""The link to a shard in this process, without a model: order, pictures, and the end of it."""

import asyncio
import queue
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from inlay.offline import embedded_link as module
from inlay.offline.embedded_link import EmbeddedLink
from inlay_proto import generate_pb2 as pb
from inlay_router.links.link import LinkLost, PreparationRefused
from inlay_shard.config import ShardConfig
from inlay_shard.images.image_workers import ImageWorkers
from inlay_shard.shard import Listener, Served
from inlay_shard.steps.worker import StepThread

CONFIG = ShardConfig(model=Path("nowhere"), model_id="blind", address="unix:")


class Engine:
    """Answers every step; step 9 breaks it."""

    def __init__(self, log: "queue.SimpleQueue[int | str]") -> None:
        self._log = log

    def run(self, step: pb.Step) -> pb.StepResult:
        self._log.put(step.step_id)
        if step.step_id == 9:
            raise RuntimeError("broken")
        return pb.StepResult(step_id=step.step_id)

    def reset(self) -> None:
        self._log.put("reset")


class FakeShard:
    """A shard whose model loads at once, or not at all."""

    log: "queue.SimpleQueue[int | str]" = queue.SimpleQueue()
    is_broken = False

    def __init__(self, config: ShardConfig, workers: ImageWorkers, listener: Listener) -> None:
        self._listener = listener
        self.steps = StepThread(self._load, listener.on_failure)
        self.start = self.steps.start
        self.stop = self.steps.stop

    def _load(self) -> Engine:
        if self.is_broken:
            raise RuntimeError("no weights")
        self._listener.on_ready(Served(pb.ModelFacts(model_id="blind"), None))
        return Engine(self.log)


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> "queue.SimpleQueue[int | str]":
    log: queue.SimpleQueue[int | str] = queue.SimpleQueue()
    monkeypatch.setattr(FakeShard, "log", log)
    monkeypatch.setattr(module, "Shard", FakeShard)
    return log


def run(story: Coroutine[Any, Any, None]) -> None:
    before = set(threading.enumerate())
    asyncio.run(asyncio.wait_for(story, 30))
    left = set(threading.enumerate()) - before
    assert "steps" not in {thread.name for thread in left}


def link() -> EmbeddedLink:
    return EmbeddedLink(CONFIG, ImageWorkers(CONFIG.model, 1), lambda words: None)


def entries(log: "queue.SimpleQueue[int | str]") -> list[int | str]:
    return [log.get_nowait() for _ in range(log.qsize())]


def test_results_come_in_order_and_a_new_connection_begins_anew(
    log: "queue.SimpleQueue[int | str]",
) -> None:
    async def story() -> None:
        ours = link()
        assert (await ours.connect()).model_id == "blind"
        for step_id in (1, 2, 3):
            await ours.send(pb.Step(step_id=step_id))
        assert [(await ours.receive()).step_id for _ in range(2)] == [1, 2]
        await ours.connect()
        await ours.send(pb.Step(step_id=1))
        assert (await ours.receive()).step_id == 1  # not what was left of the stream before
        assert await ours.is_alive(within=1)
        await ours.close()

    run(story())
    assert entries(log) == ["reset", 1, 2, 3, "reset", 1]


def test_a_model_without_eyes_refuses_pictures() -> None:
    async def story() -> None:
        ours = link()
        await ours.connect()
        with pytest.raises(PreparationRefused, match="blind takes no images"):
            await ours.prepare(pb.PrepareRequest())
        await ours.close()

    run(story())


def test_a_step_that_fails_ends_the_link() -> None:
    async def story() -> None:
        ours = link()
        await ours.connect()
        await ours.send(pb.Step(step_id=9))
        with pytest.raises(LinkLost):
            await ours.receive()
        assert str(await ours.failure) == "broken"
        with pytest.raises(LinkLost):
            await ours.send(pb.Step(step_id=10))
        with pytest.raises(TimeoutError):  # it is over, and that is for others to act on
            await asyncio.wait_for(ours.connect(), 0.01)
        await ours.close()

    run(story())


def test_a_model_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeShard, "is_broken", True)

    async def story() -> None:
        ours = link()
        connecting = asyncio.create_task(ours.connect())
        assert str(await ours.failure) == "no weights"
        connecting.cancel()
        await ours.close()

    run(story())
