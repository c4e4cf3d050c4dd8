"""True positions for attention whose temperature follows them, as in the layers of Llama 4 without
rotary embeddings."""

from typing import Any

import torch
from torch import Tensor, nn

_MARK = "attn_temperature_tuning"
"""Attribute of attention modules that count the positions of their tokens by themselves."""


class TruePositions:
    """Stands where such a module looks for a cache, whose length it adds to a token's index.

    In a flattened batch the index of a token says nothing of its position, so what is added differs
    from token to token.
    """

    def __init__(self, position_ids: Tensor) -> None:
        """position_ids: int64 (tokens,)."""
        count = torch.arange(len(position_ids), device=position_ids.device)
        self._ahead = position_ids - count

    def get_seq_length(self, layer_index: int = 0) -> Tensor:
        """How far each token is ahead of its index (tokens,)."""
        return self._ahead

    def update(self, keys: Tensor, values: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        """Nothing is kept here: both come back as they are."""
        return keys, values


class _Tower:
    """A text tower whose attention modules learn the positions that the tower is called with."""

    def __init__(self) -> None:
        self._positions: TruePositions | None = None

    def note(self, tower: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Before each pass of the tower."""
        position_ids: Tensor | None = named.get("position_ids")
        self._positions = None if position_ids is None else TruePositions(position_ids[0])

    def hand(
        self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Before each pass of an attention module. Without positions its own count is right."""
        if self._positions is None:
            return None
        return arguments, named | {"past_key_values": self._positions}


def heed_positions(text_tower: nn.Module) -> None:
    """Let attention modules that count positions by themselves count those of the batch."""
    modules = [module for module in text_tower.modules() if getattr(module, _MARK, False)]
    if not modules:
        return
    tower = _Tower()
    text_tower.register_forward_pre_hook(tower.note, with_kwargs=True)
    for module in modules:
        module.register_forward_pre_hook(tower.hand, with_kwargs=True)
