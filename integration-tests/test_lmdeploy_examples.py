"""What LMDeploy's guide shows, on the embedded model: the examples, run, and their answers."""

import json
import math
import shutil
from typing import Any

import lmdeploy_pipeline as examples
import lmdeploy_settings as settings
import pytest

from inlay import Pipeline, pipeline
from inlay.model_folder import EMBEDDED_MODEL
from inlay_shard.encoder.encoder import Encoder

ANSWER = "a red circle and two blue squares"


@pytest.fixture(scope="module")
def bare_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model without its chat template."""
    folder = tmp_path_factory.mktemp("bare") / "model"
    shutil.copytree(EMBEDDED_MODEL, folder, ignore=shutil.ignore_patterns("*.jinja"))
    return str(folder)


def test_an_image(pipe: Pipeline) -> None:
    response = examples.hello(pipe)
    assert response.text == str(response) == ANSWER
    assert response.finish_reason == "stop"
    assert response.generate_token_len == len(response.token_ids) == 7
    assert response.input_token_len > 12


def test_messages(pipe: Pipeline) -> None:
    assert examples.openai_format(pipe).text == "3"


def test_sampling(pipe: Pipeline) -> None:
    assert examples.sampling(pipe).text == "yellow"


def test_the_place_of_an_image(pipe: Pipeline) -> None:
    assert examples.image_token(pipe).text == ANSWER


def test_several_images(pipe: Pipeline) -> None:
    assert examples.several_images(pipe).text == f"first, {ANSWER}; second, a yellow star"


def test_a_batch(pipe: Pipeline) -> None:
    responses = examples.batch(pipe)
    assert [response.text for response in responses] == [ANSWER, "a yellow star"]
    assert [response.index for response in responses] == [0, 1]


def test_a_session(pipe: Pipeline) -> None:
    session = examples.session(pipe)
    assert [text for _, text in session.history] == [ANSWER, "2"]
    assert session.response is not None
    assert session.response.text == "2"


def test_a_stream(pipe: Pipeline) -> None:
    assert examples.stream(pipe) == "a| red| circle| and| two| blue| squares"


def test_logits(pipe: Pipeline) -> None:
    response = examples.logits(pipe)
    assert response.logits is not None
    assert response.logits.shape == (len(response.token_ids), 704)
    assert response.logits.argmax(-1).tolist() == response.token_ids
    assert all(map(math.isfinite, response.logits.flatten().tolist()))


def test_structured_output(pipe: Pipeline) -> None:
    assert json.loads(examples.structured_output(pipe).text)["count"] == 3


def test_two_processes_and_a_window() -> None:
    assert settings.two_processes_and_a_window() == ANSWER


def test_a_built_in_template(bare_folder: str) -> None:
    assert settings.built_in_template(bare_folder) == ANSWER


def test_a_custom_template_and_eyes(bare_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    embed = Encoder._embed

    def watched(encoder: Encoder, batch: list[Any]) -> None:
        assert encoder._max_batch_images == 16
        sizes.append(len(batch))
        embed(encoder, batch)

    monkeypatch.setattr(Encoder, "_embed", watched)
    assert settings.custom_template_and_eyes(bare_folder) == ANSWER
    assert sum(sizes) >= 20
    assert max(sizes) <= 16


def test_without_a_template_a_model_is_given_the_texts(
    bare_folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pipeline(bare_folder) as pipe:
        assert "carries no chat template" in caplog.text
        assert pipe(("What is this a picture of?", examples.SHAPES)).text == ANSWER
