"""How far tokens of a prompt with images see ahead, and what holds rows to it."""

from pathlib import Path

import numpy as np
import pytest
from driver import Driver
from families.listing import classes
from families.making import make_folder
from families.recipes import RECIPES
from local_shard import Shard, picture, start_shard

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import PreparationRefused
from inlay_shard.model.loading import quiet
from inlay_shard.model.view import View

PLACES = np.array([2, 3, 6, 7, 8])


def start_tiny(model_type: str, folder: Path) -> Shard:
    with quiet():
        make_folder(*classes(model_type), RECIPES[model_type], folder)
        return start_shard(folder, takes_images=True)


def test_stops() -> None:
    assert View.CAUSAL.stops(PLACES, 10) is None
    image = View.IMAGE.stops(PLACES, 10)
    assert image is not None and image.tolist() == [1, 2, 4, 4, 5, 6, 9, 9, 9, 10]
    prompt = View.PROMPT.stops(PLACES, 10)
    assert prompt is not None and prompt.tolist() == [10] * 10


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    return start_tiny("gemma3", tmp_path_factory.mktemp("models") / "gemma3")


def test_the_router_is_told(gemma3: Shard) -> None:
    assert gemma3.ready.network.view is View.IMAGE
    assert gemma3.facts.bidirectional_images


def test_a_row_that_cuts_an_image_fails_alone(gemma3: Shard) -> None:
    reply = gemma3.prepare(["a", picture(1), "?"])
    place = reply.images[0]
    driver = Driver(gemma3, chunk=place.start + 1)
    cut = driver.add(reply.token_ids, features_key=reply.features_key)  # its places are not told
    whole = driver.add(reply.token_ids, features_key=reply.features_key, places=reply.images)
    driver.run()
    assert cut.failure is not None and "cuts an image" in cut.failure.message
    assert len(whole.output_ids) > 0


def test_an_image_longer_than_the_window_is_refused(
    gemma3: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemma3.ready.network.config.get_text_config(), "sliding_window", 3)
    with pytest.raises(PreparationRefused, match="takes 4 tokens, and this model sees 3 tokens"):
        gemma3.prepare(["another", picture(7), "?"])


def test_a_prompt_without_an_image_is_refused_where_prompts_are_seen_whole(tmp_path: Path) -> None:
    shard = start_tiny("paligemma", tmp_path)
    assert shard.ready.network.view is View.PROMPT
    driver = Driver(shard)
    running = driver.add([100, 101, 102])
    driver.run()
    assert running.failure is not None
    assert running.failure.kind == pb.RowFailure.KIND_INVALID
    assert "only prompts with an image" in running.failure.message


def test_a_place_is_the_whole_prompt_where_prompts_are_seen_whole(tmp_path: Path) -> None:
    shard = start_tiny("paligemma", tmp_path)
    with quiet():
        replies = [shard.prepare([picture(1), text]) for text in ("one", "two")]
    for reply in replies:
        assert [(p.start, p.length) for p in reply.images] == [(0, len(reply.token_ids))]
    assert replies[0].images[0].digest != replies[1].images[0].digest
