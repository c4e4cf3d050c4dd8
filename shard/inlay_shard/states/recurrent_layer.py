"""A module that keeps states of sequences: what they are, and how it is called."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from inlay_shard.states.state_cache import StateCache


@dataclass(frozen=True)
class StateShape:
    """A state of one sequence."""

    sizes: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Its memory."""
        return torch.Size(self.sizes).numel() * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class RecurrentLayer:
    """A module that keeps states of sequences, and how it is called."""

    module: nn.Module
    forward: Callable[..., Any]
    """Its own forward pass."""
    cache_name: str
    """The parameter by which it is given a cache."""
    cache_place: int
    """Where that is among its parameters."""
    num_states: int
    """Of either kind that a layer of the model may have."""
    conv: dict[int, StateShape] = field(default_factory=dict)
    """Of convolutions, by the number that the module has for each."""
    recurrent: dict[int, StateShape] = field(default_factory=dict)
    """Of recurrences."""
    goes_on_by_rows: bool = True
    """Whether it goes on from states by several tokens at once; if not, by one at a time."""
    read_linears: tuple[nn.Linear, ...] = ()
    """Linear layers in it that it does not call, since it reads their weights by itself."""

    def no_states(self) -> StateCache:
        """For rows that begin a sequence, while it is found out what there is to keep."""
        return StateCache({}, {}, num_states=self.num_states, has_state=False)

    def call(self, cache: StateCache | None, arguments: Any, named: dict[str, Any]) -> Any:
        """Its answer with this cache in place of the one among its arguments."""
        if len(arguments) <= self.cache_place:
            return self.forward(*arguments, **{**named, self.cache_name: cache})
        place = self.cache_place
        return self.forward(*arguments[:place], cache, *arguments[place + 1 :], **named)
