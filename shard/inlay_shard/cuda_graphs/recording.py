"""CUDA graphs: a computation is recorded once, then computed again without its Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from inlay_kernels import REFERENCE, Kernels

Computation: TypeAlias = Callable[[], Tensor]
"""Reads the same tensors, of the same shapes, each time that it is called."""


class CannotRecord(Exception):
    """A computation cannot be recorded; the message says why. The device computes on."""


class Recording(Protocol):
    """A computation that was recorded."""

    def replay(self) -> Tensor:
        """Compute again, from what the tensors hold by now that were read while it was recorded.

        The answer is the same tensor each time, with other numbers in it.
        """


class Recorder(Protocol):
    """Records computations. None may be replayed while another is, as they share their memory."""

    def rehearse(self, compute: Computation) -> None:
        """Compute, and look out for what could not be recorded.

        For the start of a shard, as no other thread may compute meanwhile. Raises CannotRecord.
        """

    def record(self, compute: Computation) -> Recording:
        """Compute once, so that everything is compiled, then record. Raises CannotRecord, and
        nothing is to be recorded behind that."""


def find_recorder(device: torch.device, kernels: Kernels) -> Recorder | None:
    """None where nothing can be recorded: off CUDA, and without Triton, since the plain form of
    attention reads lengths off the device."""
    if device.type != "cuda" or kernels.paged_attention is REFERENCE.paged_attention:
        return None
    return CudaRecorder(device)


class CudaRecording:
    """A CUDA graph."""

    def __init__(self, graph: torch.cuda.CUDAGraph, answer: Tensor) -> None:
        self._graph = graph
        self._answer = answer

    def replay(self) -> Tensor:
        """As Recording says, on the current stream."""
        self._graph.replay()
        return self._answer


class CudaRecorder:
    """Records on a stream of its own. All graphs take their memory from one pool."""

    def __init__(self, device: torch.device) -> None:
        make_stream: Any = torch.cuda.Stream
        self._device = device
        self._stream = make_stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._failed: list[torch.cuda.CUDAGraph] = []

    def rehearse(self, compute: Computation) -> None:
        """As Recorder says: whatever waits for the device could not be recorded."""
        with self._beside():
            compute()  # compiles; that may wait
            torch.cuda.set_sync_debug_mode("error")
            try:
                compute()
            except Exception as error:
                raise CannotRecord(first_line(error)) from error
            finally:
                torch.cuda.set_sync_debug_mode("default")

    def record(self, compute: Computation) -> CudaRecording:
        """As Recorder says."""
        with self._beside():
            compute()
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # memory of that stream, which steps could not use
        graph = torch.cuda.CUDAGraph()
        try:
            with self._beside():
                return CudaRecording(graph, self._capture(graph, compute))
        except Exception as error:
            self._recover(graph)
            # Ending a capture that failed fails, too, and says less than what failed first.
            raise CannotRecord(first_line(error.__context__ or error)) from error

    def _capture(self, graph: torch.cuda.CUDAGraph, compute: Computation) -> Tensor:
        # In any other mode, what the encoder's thread does at the same time would fail.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            return compute()
        finally:
            graph.capture_end()

    def _recover(self, graph: torch.cuda.CUDAGraph) -> None:
        """Behind a capture that failed. Raises RuntimeError when the device is lost.

        torch (2.13) leaves its allocator in the midst of the capture then: memory that is used on
        two streams would never be free again, and the allocator may ask the graph, which is kept.
        """
        self._failed.append(graph)
        end_allocation: Any = getattr(torch._C, "_cuda_endAllocateToPool")  # noqa: B009
        with suppress(RuntimeError):  # it had ended
            end_allocation(self._device.index, self._pool)
        torch.cuda.synchronize(self._device)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Within, this thread computes on the recorder's stream: behind what was begun, and in
        front of what follows."""
        with torch.cuda.device(self._device):
            outside = torch.cuda.current_stream()
            self._stream.wait_stream(outside)
            with torch.cuda.stream(self._stream):
                yield
            outside.wait_stream(self._stream)


def first_line(error: BaseException) -> str:
    """What an error says, without the advice that torch puts below it."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]
