"""What text towers are given of each token beside its embedding, as columns behind that."""

from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel

from inlay_shard.model.sight import names_of


class TokenInputs(Protocol):
    """What one kind of text tower is given of each token, where it is given embeddings."""

    width: int
    """Number of columns."""

    def columns(self, token_ids: Tensor, places: Tensor) -> Tensor:
        """(tokens, width), of tokens (tokens,), those at `places` (n,) being of images."""

    def arguments(self, columns: Tensor) -> dict[str, Tensor]:
        """The same as arguments of the model, by name."""


class NoInputs:
    """Embeddings are all that a text tower is given."""

    width = 0

    def columns(self, token_ids: Tensor, places: Tensor) -> Tensor:
        """As TokenInputs says."""
        return token_ids.new_empty(len(token_ids), 0)

    def arguments(self, columns: Tensor) -> dict[str, Tensor]:
        """As TokenInputs says."""
        return {}


class PerLayerInputs:
    """What each layer of Gemma 3n and 4 adds to a token by its id. An image has that of padding."""

    def __init__(self, tower: Any) -> None:
        config = tower.config
        self._tower = tower
        self._pad_token_id = config.pad_token_id or 0
        self._shape = (config.num_hidden_layers, config.hidden_size_per_layer_input)
        self.width = self._shape[0] * self._shape[1]

    def columns(self, token_ids: Tensor, places: Tensor) -> Tensor:
        """As TokenInputs says."""
        known = token_ids.index_fill(0, places, self._pad_token_id)
        found: Tensor = self._tower.get_per_layer_inputs(known.unsqueeze(0))
        return found[0].flatten(1)

    def arguments(self, columns: Tensor) -> dict[str, Tensor]:
        """As TokenInputs says."""
        return {"per_layer_inputs": columns.reshape(1, -1, *self._shape)}


def find_token_inputs(tower: PreTrainedModel) -> TokenInputs:
    """Found by the names of what a text tower takes."""
    is_given = "per_layer_inputs" in names_of(tower.forward)
    if is_given and getattr(tower.config, "hidden_size_per_layer_input", None):
        return PerLayerInputs(tower)
    return NoInputs()
