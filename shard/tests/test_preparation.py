"""Prompts with images through processors of several families, alone and whole."""

from pathlib import Path

import pytest
from local_shard import picture
from tiny_models import IDS, make_tiny

from inlay_shard.errors import PreparationRefused
from inlay_shard.images.preparation import Preparer, load_preparer
from inlay_shard.images.processor import settings_digest


@pytest.fixture(scope="module", params=["llava", "idefics3", "qwen2_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family: str = request.param
    return make_tiny(family, tmp_path_factory.mktemp("models") / family)


@pytest.fixture(scope="module")
def preparer(folder: Path) -> Preparer:
    loaded = load_preparer(folder)
    assert loaded is not None
    return loaded


def test_each_image_has_its_own_span(preparer: Preparer) -> None:
    prepared = preparer.prepare(["a", picture(1), picture(2, 30, 70), "b", picture(3)], True)
    assert len(prepared.spans) == 3
    owned = [p for start, end in prepared.spans for p in prepared.places if start <= p < end]
    assert owned == prepared.places.tolist()
    for start, end in prepared.spans:
        assert {start, end - 1} <= set(prepared.places.tolist())


def test_the_same_image_alone_takes_as_many_places(preparer: Preparer) -> None:
    alone = preparer.prepare([picture(2, 30, 70)], True)
    among = preparer.prepare([picture(1), picture(2, 30, 70)], True)
    start, end = among.spans[1]
    assert ((among.places >= start) & (among.places < end)).sum() == len(alone.places)


def test_placeholder_in_the_text_is_refused(preparer: Preparer) -> None:
    token = preparer.recipe.image_token
    with pytest.raises(PreparationRefused, match="the text contains"):
        preparer.prepare([f"a {token}", picture(1)], True)


def test_vision_tokens_stand_around_the_images_of_qwen(tmp_path: Path) -> None:
    preparer = load_preparer(make_tiny("qwen2_vl", tmp_path))
    assert preparer is not None
    bare = preparer.prepare(["a", picture(1), "b"], True)
    by_template = preparer.prepare(["a<|vision_start|>", picture(1), "<|vision_end|>b"], True)
    assert bare.token_ids.tolist() == by_template.token_ids.tolist()
    assert bare.token_ids.tolist().count(IDS["<|vision_start|>"]) == 1


def test_settings_name_what_the_processor_makes(tmp_path: Path) -> None:
    folder = make_tiny("llava", tmp_path / "a")
    before = settings_digest(folder)
    assert settings_digest(make_tiny("llava", tmp_path / "b")) == before
    config = folder / "processor_config.json"
    config.write_text(config.read_text().replace("32", "64"))
    assert settings_digest(folder) != before


def test_text_models_have_no_preparer(tmp_path: Path) -> None:
    assert load_preparer(make_tiny("llama", tmp_path)) is None
