"""The thread that runs steps: in order, with resets between, until something fails."""

import queue
import threading

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_shard.steps.worker import StepThread


class Scripted:
    """An engine that notes what it is told, and fails at step 9."""

    def __init__(self) -> None:
        self.log: list[int | str] = []

    def run(self, step: pb.Step) -> pb.StepResult:
        self.log.append(step.step_id)
        if step.step_id == 9:
            raise RuntimeError("broken")
        return pb.StepResult(step_id=step.step_id)

    def reset(self) -> None:
        self.log.append("reset")


def test_order_is_kept_and_a_failure_is_told() -> None:
    engine = Scripted()
    failures: queue.Queue[BaseException] = queue.Queue()
    results: queue.Queue[pb.StepResult] = queue.Queue()
    steps = StepThread(lambda: engine, failures.put)
    for step_id in (1, 2):
        steps.submit(pb.Step(step_id=step_id), results.put)
    steps.reset()
    steps.submit(pb.Step(step_id=9), results.put)
    steps.start()
    assert str(failures.get(timeout=30)) == "broken"
    assert engine.log == [1, 2, "reset", 9]
    assert [results.get().step_id for _ in range(2)] == [1, 2]
    assert results.empty()


def test_all_happens_on_one_other_thread() -> None:
    threads: queue.Queue[int] = queue.Queue()

    def load() -> Scripted:
        threads.put(threading.get_ident())
        return Scripted()

    steps = StepThread(load, lambda failure: None)
    steps.start()
    steps.submit(pb.Step(step_id=1), lambda result: threads.put(threading.get_ident()))
    first, second = threads.get(timeout=30), threads.get(timeout=30)
    assert first == second != threading.get_ident()


def test_loading_that_fails_is_told() -> None:
    failures: queue.Queue[BaseException] = queue.Queue()

    def load() -> Scripted:
        raise MemoryError("too large")

    StepThread(load, failures.put).start()
    assert isinstance(failures.get(timeout=30), MemoryError)


def test_it_is_idle_a_while_after_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("inlay_shard.steps.worker.time.monotonic", lambda: clock[0])
    has_begun, may_go_on = threading.Event(), threading.Event()

    class Slow(Scripted):
        def run(self, step: pb.Step) -> pb.StepResult:
            has_begun.set()
            assert may_go_on.wait(30)
            return super().run(step)

    steps = StepThread(Slow, lambda failure: None)
    assert steps.is_idle
    steps.start()
    results: queue.Queue[pb.StepResult] = queue.Queue()
    steps.submit(pb.Step(step_id=1), results.put)
    assert has_begun.wait(30)
    clock[0] += 1000
    assert not steps.is_idle
    may_go_on.set()
    results.get(timeout=30)
    steps.submit(pb.Step(step_id=2), results.put)
    results.get(timeout=30)
    assert not steps.is_idle
