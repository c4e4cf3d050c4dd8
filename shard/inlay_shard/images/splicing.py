"""Prompts with images put together from what the model's processor makes of each image alone."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.preparation import Expansion, Prepared
from inlay_shard.images.recipe import Piece, Recipe


class Splicer:
    """Splices prompts by a recipe; for any thread."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        """How prompts are written."""
        self._tokenizer: Any = Tokenizer.from_str(recipe.tokenizer_json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def can_splice(self, pieces: Sequence[Piece]) -> bool:
        """Whether it is proven that the processor would make the same of these pieces."""
        recipe = self.recipe
        return recipe.can_splice and (recipe.can_splice_neighbours or not _has_neighbours(pieces))

    def tokenise(self, text: str) -> list[int]:
        """Ids of the tokens of a text, without those that begin and end a prompt."""
        token_ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return token_ids

    def splice(
        self, pieces: Sequence[Piece], expansions: Sequence[Expansion], add_special_tokens: bool
    ) -> Prepared:
        """The prompt, from the expansion of each of its images. Raises PreparationRefused."""
        text = self.recipe.write(pieces)
        encoded = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        token_ids = np.array(encoded.ids, np.int64)
        markers = np.flatnonzero(token_ids == self.recipe.marker_id)
        if len(markers) != len(expansions):
            raise PreparationRefused(
                f"the prompt has {len(expansions)} images and places for {len(markers)}"
            )
        texts = np.split(token_ids, np.sort(np.concatenate([markers, markers + 1])))[::2]
        token_ids = _interleave(texts, [expansion.token_ids for expansion in expansions])
        return Prepared(
            token_ids=token_ids,
            places=np.flatnonzero(token_ids == self.recipe.image_token_id),
            spans=self._spans(texts, expansions),
            inputs=_token_types(texts, expansions) | _inputs(expansions),
        )

    def _spans(
        self, texts: Sequence[NDArray[np.int64]], expansions: Sequence[Expansion]
    ) -> list[tuple[int, int]]:
        spans = []
        start = 0
        for text, expansion in zip(texts, expansions, strict=False):
            start += len(text)
            own = np.flatnonzero(expansion.token_ids == self.recipe.image_token_id)
            spans.append((start + int(own[0]), start + int(own[-1]) + 1))
            start += len(expansion.token_ids)
        return spans


def _has_neighbours(pieces: Sequence[Piece]) -> bool:
    filled = [piece for piece in pieces if piece]
    return any(not isinstance(a, str) and not isinstance(b, str) for a, b in pairwise(filled))


def _interleave(
    texts: Sequence[NDArray[Any]], expansions: Sequence[NDArray[Any]]
) -> NDArray[np.int64]:
    parts = [texts[0]]
    for expansion, text in zip(expansions, texts[1:], strict=True):
        parts += [expansion, text]
    return np.concatenate(parts)


def _token_types(
    texts: Sequence[NDArray[np.int64]], expansions: Sequence[Expansion]
) -> dict[str, NDArray[Any]]:
    """(1, tokens) by name; without what embeddings in an image's stead lack."""
    zeros = [np.zeros_like(text) for text in texts]
    return {
        name: _interleave(zeros, [expansion.token_types[name] for expansion in expansions])[None]
        for name in expansions[0].token_types
        if all(name in expansion.token_types for expansion in expansions)
    }


def _inputs(expansions: Sequence[Expansion]) -> dict[str, NDArray[Any]]:
    """One after the other, by name; without what is padded to the images of one prompt, and what
    embeddings in an image's stead lack."""
    made = {
        name: [expansion.inputs[name] for expansion in expansions if name in expansion.inputs]
        for name in expansions[0].inputs
    }
    return {
        name: np.concatenate(entries)
        for name, entries in made.items()
        if len(entries) == len(expansions) and len({entry.shape[1:] for entry in entries}) == 1
    }
