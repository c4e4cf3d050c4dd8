"""Spliced prompts against what the processor makes of the whole, for several families."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from local_shard import picture
from tiny_models import TAKE_IMAGES, make_tiny

from inlay.model_folder import EMBEDDED_MODEL
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.preparation import Expansion, Prepared, Preparer, load_preparer
from inlay_shard.images.recipe import Piece, Recipe
from inlay_shard.images.splice_proof import is_joined, prove
from inlay_shard.images.splicing import Splicer

TEXTS = ["a", " ", "\n", "x y", "\n\n", "Ünï 😀", "end. ", "<end>", "1", "<", ">", "\t"]
IMAGES = [picture(1), picture(2, 30, 70), picture(3, 100, 20)]
PIECES: list[Piece] = [*TEXTS, *IMAGES]


@pytest.fixture(scope="module", params=[*TAKE_IMAGES, "embedded"])
def preparer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Preparer:
    family: str = request.param
    folder = EMBEDDED_MODEL
    if family != "embedded":
        folder = make_tiny(family, tmp_path_factory.mktemp("models") / family)
    loaded = load_preparer(folder)
    assert loaded is not None
    return loaded


def test_it_is_proven_for_these_families(preparer: Preparer) -> None:
    recipe = prove(preparer)
    assert recipe.can_splice
    assert recipe.can_splice_neighbours


def expand_all(preparer: Preparer) -> dict[bytes, Expansion]:
    """As the shard keeps them: without pixels."""
    return {image: replace(preparer.expand(image), inputs={}) for image in IMAGES}


def random_pieces(numbers: random.Random) -> list[Piece]:
    pieces: list[Piece] = [numbers.choice(IMAGES)]
    for _ in range(numbers.randrange(5)):
        pieces.insert(numbers.randrange(len(pieces) + 1), numbers.choice(PIECES))
    return pieces


def test_random_prompts_are_what_the_processor_makes(preparer: Preparer) -> None:
    numbers = random.Random(5)
    splicer = Splicer(prove(preparer))
    expansions = expand_all(preparer)
    for _ in range(40):
        pieces = random_pieces(numbers)
        own = [expansions[piece] for piece in pieces if isinstance(piece, bytes)]
        has_special_tokens = numbers.random() < 0.5
        whole = preparer.prepare(pieces, has_special_tokens)
        spliced = splicer.splice(pieces, own, has_special_tokens)
        assert spliced.token_ids.tolist() == whole.token_ids.tolist()
        assert spliced.places.tolist() == whole.places.tolist()
        assert spliced.spans == whole.spans
        for name, types in spliced.inputs.items():
            assert np.array_equal(types, whole.inputs[name])


def test_placeholder_in_the_text_is_refused(preparer: Preparer) -> None:
    splicer = Splicer(prove(preparer))
    own = [preparer.expand(IMAGES[0])]
    with pytest.raises(PreparationRefused, match="the text contains"):
        splicer.splice([f"a {preparer.recipe.image_token}", IMAGES[0]], own, True)


class Meddling(Preparer):
    """Its processor does something to whole prompts that it does not do to images alone."""

    def __init__(self, preparer: Preparer, meddle: Callable[[str], str]) -> None:
        super().__init__(preparer._processor, preparer.recipe)
        self._meddle = meddle

    def _process(self, text: str, *others: Any) -> Any:
        return super()._process(self._meddle(text), *others)


def test_a_processor_that_writes_prompts_in_its_own_way_is_not_spliced(
    preparer: Preparer,
) -> None:
    token = preparer.recipe.image_token
    assert not prove(Meddling(preparer, lambda text: text.replace("c\n", "c"))).can_splice
    assert not prove(Meddling(preparer, lambda text: text + "\n" * (text != token))).can_splice


def test_neighbours_are_proven_apart(preparer: Preparer) -> None:
    recipe = preparer.recipe
    two = recipe.write([b"", b""])
    proven = prove(Meddling(preparer, lambda text: text.replace(two, f" {two}")))
    assert proven.can_splice
    assert not proven.can_splice_neighbours
    splicer = Splicer(proven)
    assert splicer.can_splice([IMAGES[0], " ", IMAGES[1]])
    assert not splicer.can_splice([IMAGES[0], IMAGES[1]])
    assert not splicer.can_splice([IMAGES[0], "", IMAGES[1]])


class Blurring(Preparer):
    """Its processor makes other pixels of images among others."""

    def prepare(self, pieces: Sequence[Piece], add_special_tokens: bool) -> Prepared:
        whole = super().prepare(pieces, add_special_tokens)
        return replace(whole, inputs={name: array * 2 for name, array in whole.inputs.items()})


def test_a_processor_that_mixes_images_is_not_spliced(preparer: Preparer) -> None:
    assert not prove(Blurring(preparer._processor, preparer.recipe)).can_splice


def test_without_a_fast_tokenizer_nothing_is_spliced(preparer: Preparer) -> None:
    slow = Preparer(preparer._processor, replace(preparer.recipe, tokenizer_json=""))
    assert not prove(slow).can_splice


def test_joined_along_either_axis_and_padded() -> None:
    one, two = np.ones((1, 2, 3)), np.full((1, 4, 2), 2.0)
    padded = np.zeros((2, 4, 3))
    padded[:1, :2], padded[1:, :, :2] = one, two
    assert is_joined(padded, [one, two])
    assert not is_joined(padded + 1, [one, two])
    assert not is_joined(padded[:1], [one, two])
    beside = np.zeros((1, 6, 3))
    beside[:, :2], beside[:, 2:, :2] = one, two
    assert is_joined(beside, [one, two])
    assert not is_joined(beside, [two, one])
    assert not is_joined(beside[0], [one, two])


def test_vision_tokens_stand_once() -> None:
    recipe = Recipe(image_token="I", marker_id=0, image_token_id=0, wrapping=("<", ">"))
    assert recipe.write(["a", b"", "b"]) == "a<I>b"
    assert recipe.write(["a<", b"", ">b"]) == "a<I>b"
    assert recipe.write([b"", b""]) == "<I><I>"
