"""What a recurrent layer takes for the cache of its model: the states of the rows of one call."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, LinearAttentionLayer

_ENDLESS = 1 << 30


class StateCache(Cache):
    """The states of some rows in one module. Whichever layer is named, they are what is meant."""

    def __init__(
        self,
        conv: Mapping[int, Tensor],
        recurrent: Mapping[int, Tensor],
        *,
        num_states: int,
        has_state: bool,
    ) -> None:
        """States of convolutions (rows, channels, width) and of recurrences (rows, …), by the
        number that the module has for each; they are read and written where they lie.

        num_states: that a layer of the model may have. has_state: whether there is something to go
        on from; if not, what the tensors hold is not read.
        """
        layer = LinearAttentionLayer(number_of_states=num_states)
        for number, state in conv.items():
            layer.conv_states[number] = state
            layer.conv_kernel_size[number] = state.shape[-1]
            layer.is_conv_states_initialized[number] = True
        for number, state in recurrent.items():
            layer.recurrent_states[number] = state
            layer.is_recurrent_states_initialized[number] = True
        super().__init__(layers=_Everywhere([layer]))
        self.layer = layer
        self.conv, self.recurrent = conv, recurrent
        if has_state:
            self.go_on()

    def go_on(self) -> None:
        """Whatever comes next goes on from the states that are there."""
        for number in self.layer.has_previous_state:
            self.layer.has_previous_state[number] = True

    def get_linear_cache(self, layer_idx: int) -> Tensor | None:
        """The state of a lightning attention, as MiniMax asks for it."""
        return self.get_recurrent_state(layer_idx)

    def set_linear_cache(self, layer_idx: int, state: Tensor) -> None:
        """Keep the state of a lightning attention."""
        self.layer.update_recurrent_state(state)


class _Everywhere(list[Any]):
    """Its only entry stands at every index."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(0)

    def __len__(self) -> int:
        return _ENDLESS
