"""Images, alone or in a prompt, as the adapter of a model prepares them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inlay_shard.adapter import ImageAdapter
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.pictures import read_picture
from inlay_shard.images.preparation import Expansion, Prepared
from inlay_shard.images.recipe import Piece, Recipe
from inlay_shard.images.splicing import Splicer


class AdaptedPreparer:
    """Makes each image by itself and splices prompts from them: by definition, not by proof."""

    def __init__(self, adapter: ImageAdapter) -> None:
        self._adapter = adapter
        self.recipe = Recipe(
            image_token=adapter.image_token,
            marker_id=adapter.image_token_id,
            image_token_id=adapter.image_token_id,
            reserved_tokens=(adapter.image_token,),
            tokenizer_json=adapter.tokenizer.backend_tokenizer.to_str(),
            can_splice=True,
            can_splice_neighbours=True,
        )
        """How prompts are written."""
        self._splicer = Splicer(self.recipe)

    def expand(self, data: bytes) -> Expansion:
        """An image as it stands in any prompt. Raises PreparationRefused."""
        picture = read_picture(data)
        try:
            tensors = self._adapter.process(picture)
            token_ids = np.array(self._splicer.tokenise(self._adapter.expand(tensors)), np.int64)
            inputs = _arrays(tensors)
        except MemoryError as error:
            raise PreparationRefused("the image needs too much memory") from error
        except Exception as error:
            reason = f"the model's adapter cannot use the image: {type(error).__name__}: {error}"
            raise PreparationRefused(reason) from error
        num_places = int((token_ids == self.recipe.image_token_id).sum())
        if not num_places:
            raise PreparationRefused("the image has no place in a prompt")
        return Expansion(token_ids=token_ids, token_types={}, num_places=num_places, inputs=inputs)

    def prepare(self, pieces: Sequence[Piece], add_special_tokens: bool) -> Prepared:
        """Token ids and inputs of a prompt. Raises PreparationRefused."""
        expansions = [self.expand(piece) for piece in pieces if isinstance(piece, bytes)]
        return self._splicer.splice(pieces, expansions, add_special_tokens)


def _arrays(inputs: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: entry.detach().cpu().contiguous().numpy() for name, entry in inputs.items()}
