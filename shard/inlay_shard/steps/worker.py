"""The thread that runs steps, apart from the loop that moves messages."""

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from inlay_proto import generate_pb2 as pb

IDLE_SECONDS = 0.02
"""Between the last step and the moment from which on none is expected to follow at once: steps of
a stream follow within milliseconds, a new picture takes about so long to be prepared."""


class RunsSteps(Protocol):
    """What the thread drives: an engine."""

    def run(self, step: pb.Step) -> pb.StepResult:
        """Do one step."""

    def reset(self) -> None:
        """Forget every sequence."""


Deliver = Callable[[pb.StepResult], None]
"""Called on the thread with a result; must not block."""


class StepThread:
    """Loads an engine, then runs what it is told to in order, all on one thread."""

    def __init__(
        self,
        load: Callable[[], RunsSteps],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Both are called on the thread. A failure of loading or of a step ends it."""
        self._load = load
        self._on_failure = on_failure
        self._tasks: queue.SimpleQueue[Callable[[RunsSteps], None] | None] = queue.SimpleQueue()
        self._last_active = 0.0
        self._thread = threading.Thread(target=self._run, name="steps", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def submit(self, step: pb.Step, deliver: Deliver) -> None:
        """Run a step behind those submitted before."""
        self._tasks.put(lambda engine: deliver(engine.run(step)))

    def reset(self) -> None:
        """Forget every sequence, behind the steps submitted before, which all ranks still run."""
        self._tasks.put(lambda engine: engine.reset())

    def stop(self) -> None:
        """End the thread behind what was submitted before, and wait for it."""
        self._tasks.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_idle(self) -> bool:
        """Whether no step has run for a while; for any thread."""
        return time.monotonic() - self._last_active > IDLE_SECONDS

    def _run(self) -> None:
        try:
            engine = self._load()
            while (task := self._tasks.get()) is not None:
                self._last_active = math.inf
                task(engine)
                self._last_active = time.monotonic()
        except BaseException as failure:
            self._on_failure(failure)
