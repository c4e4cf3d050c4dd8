"""A recorder without CUDA: what torch computes is noted, and done again on the same tensors.

Like a CUDA graph, a replay runs no Python of the model, calls the same operations with the numbers
that Python knew while recording, writes its results to the same memory as then, and cannot be
recorded at all where Python asks for a number out of a tensor.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from inlay_kernels import REFERENCE, Kernels
from inlay_shard.cuda_graphs.recording import CannotRecord, Computation

WAITING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Tags of operations that wait for the device: for a number, or for how many there are."""


@dataclass
class Noted:
    """One operation, and the tensors that it made or changed."""

    operation: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    results: list[Tensor]

    def repeat(self) -> None:
        """Once more, into the same memory."""
        again = tensors(self.operation(*self.arguments, **self.named))
        for old, new in zip(self.results, again, strict=True):
            if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                old.copy_(new)


class Tape(TorchDispatchMode):
    """Within, operations are noted."""

    current: "Tape | None" = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noted: list[Noted] = []

    def __enter__(self) -> "Tape":
        Tape.current = self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        Tape.current = None
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        answer = (
            None if waits(operation, arguments) else self.note(operation, arguments, named or {})
        )
        if answer is None or isinstance(answer, bool | int | float):
            raise RuntimeError(f"{operation}: not permitted when stream is capturing")
        return answer

    def note(self, operation: Any, arguments: Any, named: dict[str, Any]) -> Any:
        """Compute, and note it."""
        answer = operation(*arguments, **named)
        self.noted.append(Noted(operation, arguments, named, tensors(answer)))
        return answer


def waits(operation: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether an operation would wait for the device; an index does where it is a mask."""
    if operation is torch.ops.aten.index.Tensor:
        return any(index is not None and index.dtype == torch.bool for index in arguments[1])
    return not WAITING.isdisjoint(operation.tags)


def tensors(answer: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]


@dataclass
class TapeRecording:
    """Operations that can be done again."""

    noted: list[Noted]
    answer: Tensor
    num_replays: int = 0

    def replay(self) -> Tensor:
        """As Recording says."""
        self.num_replays += 1
        for each in self.noted:
            each.repeat()
        return self.answer


class TapeRecorder:
    """Records on tapes."""

    def __init__(self) -> None:
        self.recordings: list[TapeRecording] = []
        self.num_refused = 0

    @property
    def num_replays(self) -> int:
        """Of all recordings."""
        return sum(recording.num_replays for recording in self.recordings)

    def rehearse(self, compute: Computation) -> None:
        """As Recorder says."""
        self.record(compute)
        self.recordings.pop()

    def record(self, compute: Computation) -> TapeRecording:
        """As Recorder says. What was computed meanwhile is lost, as nothing is while capturing."""
        compute()
        try:
            with Tape() as tape:
                answer = compute()
        except RuntimeError as error:
            self.num_refused += 1
            raise CannotRecord(str(error)) from error
        answer.fill_(float("nan"))
        self.recordings.append(TapeRecording(tape.noted, answer))
        return self.recordings[-1]


def recordable() -> Kernels:
    """The plain kernels; attention is one operation on a tape, as it is one launch of Triton's."""

    def attend(*arguments: Any, **named: Any) -> Tensor:
        if Tape.current is None:
            return REFERENCE.paged_attention(*arguments, **named)
        tape = Tape.current
        with _disable_current_modes():
            attended: Tensor = tape.note(REFERENCE.paged_attention, arguments, named)
        return attended

    return replace(REFERENCE, paged_attention=attend)
