"""When `generate` of `transformers` brings its tokens."""

import time

import torch
from transformers.generation.streamers import BaseStreamer


class Clock(BaseStreamer):
    """Notes when `generate` hands over the prompts and then each step's tokens."""

    def __init__(self) -> None:
        self.times: list[float] = []
        """Of `time.perf_counter`."""

    def put(self, value: torch.Tensor) -> None:
        """Called once with the prompts and once a step."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to note."""
