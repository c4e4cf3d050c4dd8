"""Prints how a stage is going."""

import time
from collections import defaultdict

import numpy as np

REPORT_EVERY = 100  # steps


class Progress:
    """Prints means of the last steps, and the processor time spent."""

    def __init__(self, name: str, num_steps: int) -> None:
        self._name = name
        self._num_steps = num_steps
        self._values: dict[str, list[float]] = defaultdict(list)
        self._start = time.process_time()

    def add(self, step: int, **values: float) -> None:
        """Takes the figures of one step."""
        for name, value in values.items():
            self._values[name].append(value)
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == self._num_steps:
            means = ", ".join(f"{name} {np.mean(v):.4f}" for name, v in self._values.items())
            minutes = (time.process_time() - self._start) / 60
            print(
                f"{self._name} {step + 1}/{self._num_steps}: {means}, {minutes:.1f} min", flush=True
            )
            self._values.clear()
