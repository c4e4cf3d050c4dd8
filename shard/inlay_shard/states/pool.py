"""States that layers other than attention keep of sequences, in place of keys and values.

Such a layer is handed the flattened batch (1, tokens, …), as attention is. It runs part by part.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inlay_kernels.memory import lazy_zeros
from inlay_shard.errors import ModelRefused
from inlay_shard.machine.memory import free_bytes
from inlay_shard.states.parts import Part, Parts, StateRow, cut, joined, of_part
from inlay_shard.states.recurrent_layer import RecurrentLayer, StateShape
from inlay_shard.states.state_cache import StateCache

MAX_SLOTS = 256
"""Sequences whose states are kept at most."""
_SHARE = 0.125
"""Part of the free memory that states may take."""


class StatePool:
    """The states of `num_slots` sequences, and the modules that read and write them."""

    def __init__(
        self, layers: Sequence[RecurrentLayer], *, num_slots: int, device: torch.device
    ) -> None:
        """Allocates the states and attaches them to the modules."""
        self.num_slots = num_slots
        self.num_bytes = num_slots * bytes_per_slot(layers)
        self._device = device
        self._current = _Current()
        for layer in layers:
            module_states = _ModuleStates(layer, num_slots, device)
            layer.module.__dict__["forward"] = Recurrent(layer, module_states, self._current)

    def __repr__(self) -> str:
        return f"StatePool(num_slots={self.num_slots})"

    @property
    def max_sequences(self) -> int:
        """Those that may run at a time: one slot is left for one that is tried alone, while the
        others wait where they are."""
        return self.num_slots - 1

    def lay_out(self, rows: Sequence[StateRow]) -> None:
        """Say which rows the next pass of the model computes, in the order of the batch."""
        self._current.parts = cut(rows, self._device)


class _Current:
    """The parts that the model works on now; set before each pass, read by each module."""

    parts: Parts


def state_pool(
    layers: Sequence[RecurrentLayer], num_slots: int, device: torch.device
) -> StatePool | None:
    """A pool for these layers; None where there are none."""
    return StatePool(layers, num_slots=num_slots, device=device) if layers else None


def choose_num_slots(layers: Sequence[RecurrentLayer], device: torch.device) -> int:
    """Sequences whose states may take a part of the memory that is free; 0 for no such layers.

    Raises ModelRefused when there is no room for one, and another that is tried alone.
    """
    if not layers:
        return 0
    num_bytes, free = bytes_per_slot(layers), int(_SHARE * free_bytes(device))
    if free < 2 * num_bytes:
        raise ModelRefused(
            f"the states of two sequences take {2 * num_bytes} bytes and {free} may be used"
        )
    return min(MAX_SLOTS, free // num_bytes)


def bytes_per_slot(layers: Iterable[RecurrentLayer]) -> int:
    """Memory of the states of one sequence."""
    return sum(
        shape.num_bytes
        for layer in layers
        for shape in (*layer.conv.values(), *layer.recurrent.values())
    )


class _ModuleStates:
    """The states of one module: those of slot s are at index s."""

    def __init__(self, layer: RecurrentLayer, num_slots: int, device: torch.device) -> None:
        self._num_states = layer.num_states
        self._conv = _zeros(layer.conv, num_slots, device)
        self._recurrent = _zeros(layer.recurrent, num_slots, device)

    def of(self, part: Part) -> StateCache:
        """The states of the rows of a part."""
        return StateCache(
            {number: states[part.slots] for number, states in self._conv.items()},
            {number: states[part.slots] for number, states in self._recurrent.items()},
            num_states=self._num_states,
            has_state=part.has_state,
        )

    def keep(self, part: Part, cache: StateCache) -> None:
        """Put back what a call has made of the states of a part, unless they lie here."""
        if isinstance(part.slots, slice):
            return
        for number, states in self._conv.items():
            states[part.slots] = cache.conv[number]
        for number, states in self._recurrent.items():
            states[part.slots] = cache.recurrent[number]


def _zeros(
    shapes: Mapping[int, StateShape], num_slots: int, device: torch.device
) -> dict[int, Tensor]:
    return {number: _zeros_of(shape, num_slots, device) for number, shape in shapes.items()}


def _zeros_of(shape: StateShape, num_slots: int, device: torch.device) -> Tensor:
    """In main memory the system gives them as slots are first used."""
    sizes = (num_slots, *shape.sizes)
    if device.type != "cpu":
        return torch.zeros(sizes, dtype=shape.dtype, device=device)
    return lazy_zeros(math.prod(sizes), shape.dtype).view(sizes)


@dataclass(frozen=True)
class Recurrent:
    """Called instead of the forward pass of a module that keeps states."""

    layer: RecurrentLayer
    states: _ModuleStates
    current: _Current

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the module answers to a flattened batch."""
        parts = self.current.parts
        own = parts.by_row if self.layer.goes_on_by_rows else parts.by_token
        answers = []
        for part in own:
            cache = self.states.of(part)
            answers.append(
                self.layer.call(
                    cache,
                    tuple(of_part(entry, part, parts.num_tokens) for entry in arguments),
                    {name: of_part(entry, part, parts.num_tokens) for name, entry in named.items()},
                )
            )
            self.states.keep(part, cache)
        return joined(answers, own, parts.num_tokens)
