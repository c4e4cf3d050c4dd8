"""The order in which CUDA is asked to record, on a CUDA that only notes it; and what it leaves."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from inlay_kernels import REFERENCE, Kernels, select
from inlay_shard.cuda_graphs.recording import CannotRecord, CudaRecorder, find_recorder

POOL = (0, 7)


class NotedCuda:
    """What `torch.cuda` is asked, in words. A computation that waits while a stream captures, or
    while waiting is an error, fails as CUDA's would."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stream = "steps"
        self.is_capturing = False
        self.is_invalid = False
        self.is_lost = False
        self.debug_mode = "default"

    def compute(self) -> Tensor:
        """A step that waits for nothing."""
        self.asked.append(f"computes on {self.stream}")
        return torch.zeros(1)

    def wait(self) -> Tensor:
        """A step that reads a number off the device."""
        if self.debug_mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        if self.is_capturing:
            self.is_invalid = True
            raise RuntimeError("operation not permitted\nCompile with TORCH_USE_CUDA_DSA")
        return self.compute()

    def synchronize(self, device: object) -> None:
        if self.is_lost:
            raise RuntimeError("an illegal memory access was encountered")
        self.asked.append("synchronizes")

    @contextmanager
    def on(self, stream: "NotedStream") -> Iterator[None]:
        before, self.stream = self.stream, stream.name
        try:
            yield
        finally:
            self.stream = before

    def set_mode(self, mode: str) -> None:
        self.debug_mode = mode


class NotedStream:
    """A stream that waits for another."""

    def __init__(self, cuda: NotedCuda, name: str) -> None:
        self._cuda = cuda
        self.name = name

    def wait_stream(self, other: "NotedStream") -> None:
        assert not self._cuda.is_capturing
        self._cuda.asked.append(f"{self.name} waits for {other.name}")


class NotedGraph:
    """A graph, and what torch does with it."""

    def __init__(self, cuda: NotedCuda) -> None:
        self._cuda = cuda

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        assert (pool, self._cuda.stream) == (POOL, "graphs")
        self._cuda.asked.append(f"captures ({capture_error_mode})")
        self._cuda.is_capturing = True

    def capture_end(self) -> None:
        assert self._cuda.stream == "graphs"
        self._cuda.is_capturing = False
        if self._cuda.is_invalid:
            raise RuntimeError("operation failed due to a previous error during capture")
        self._cuda.asked.append("captured")

    def replay(self) -> None:
        self._cuda.asked.append(f"replays on {self._cuda.stream}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> NotedCuda:
    noted = NotedCuda()
    fakes: dict[str, Any] = {
        "Stream": lambda device: NotedStream(noted, "graphs"),
        "graph_pool_handle": lambda: POOL,
        "CUDAGraph": lambda: NotedGraph(noted),
        "device": lambda device: nullcontext(),
        "stream": noted.on,
        "current_stream": lambda: NotedStream(noted, noted.stream),
        "synchronize": noted.synchronize,
        "empty_cache": lambda: noted.asked.append("empties"),
        "set_sync_debug_mode": noted.set_mode,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    ends = lambda device, pool: noted.asked.append(f"ends allocation on {device}")  # noqa: E731
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", ends, raising=False)
    return noted


@pytest.fixture
def recorder(cuda: NotedCuda) -> CudaRecorder:
    return CudaRecorder(torch.device("cuda", 1))


BESIDE = ["graphs waits for steps", "computes on graphs", "steps waits for graphs"]


def test_a_computation_is_warmed_up_then_captured(cuda: NotedCuda, recorder: CudaRecorder) -> None:
    """On a stream of its own, in the mode that lets other threads be."""
    recording = recorder.record(cuda.compute)
    assert cuda.asked == [
        *BESIDE,
        "synchronizes",
        "empties",
        "graphs waits for steps",
        "captures (thread_local)",
        "computes on graphs",
        "captured",
        "steps waits for graphs",
    ]
    cuda.asked.clear()
    assert recording.replay() is recording.replay()
    assert cuda.asked == ["replays on steps"] * 2


def test_a_capture_that_fails_leaves_nothing_open(cuda: NotedCuda, recorder: CudaRecorder) -> None:
    """It is ended, this thread is on its stream again, and the allocator is out of it, too."""
    with pytest.raises(CannotRecord, match=r"^RuntimeError: operation not permitted$"):
        recorder.record(cuda.wait)
    assert not cuda.is_capturing
    assert cuda.stream == "steps"
    assert cuda.asked[-2:] == ["ends allocation on 1", "synchronizes"]


def test_an_error_of_python_while_capturing_is_told(
    cuda: NotedCuda, recorder: CudaRecorder
) -> None:
    """The capture itself ends well then, and so the allocator has nothing to end."""

    def fail() -> Tensor:
        if cuda.is_capturing:
            raise ValueError("not this model")
        return cuda.compute()

    with pytest.raises(CannotRecord, match=r"^ValueError: not this model$"):
        recorder.record(fail)
    assert not cuda.is_capturing


def test_a_lost_device_is_no_matter_of_recording(cuda: NotedCuda, recorder: CudaRecorder) -> None:
    def lose() -> Tensor:
        if cuda.is_capturing:
            cuda.is_lost = True
            raise RuntimeError("an illegal memory access was encountered")
        return cuda.compute()

    with pytest.raises(RuntimeError, match="illegal memory access"):
        recorder.record(lose)


def test_a_rehearsal_finds_what_waits(cuda: NotedCuda, recorder: CudaRecorder) -> None:
    recorder.rehearse(cuda.compute)
    with pytest.raises(CannotRecord, match="called a synchronizing CUDA operation"):
        recorder.rehearse(cuda.wait)
    assert cuda.debug_mode == "default"
    assert not any(words.startswith("captures") for words in cuda.asked)


def test_nothing_is_recorded_off_cuda_or_without_triton(cuda: NotedCuda) -> None:
    assert find_recorder(torch.device("cpu"), select("cpu")) is None
    assert find_recorder(torch.device("cuda", 0), REFERENCE) is None
    other = Kernels(**{**vars(REFERENCE), "paged_attention": select("cpu").paged_attention})
    assert isinstance(find_recorder(torch.device("cuda", 0), other), CudaRecorder)
