"""The examples for vLLM's users, run on the embedded model."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from inlay import LLM

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports an example by its name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        if name.startswith("vllm_"):
            del sys.modules[name]


def test_single_image(llm: LLM, example: Any) -> None:
    assert example("vllm_single_image").describe(llm) == "a red circle and two blue squares"


def test_several_images(llm: LLM, example: Any) -> None:
    expected = "first, a red circle and two blue squares; second, a yellow star"
    assert example("vllm_several_images").compare(llm) == expected


def test_image_embeddings(llm: LLM, example: Any) -> None:
    module = example("vllm_image_embeddings")
    embeds = module.embed("triangles.png")
    assert embeds.ndim == 3
    assert module.describe(llm, embeds) == "two green triangles and a purple star"


def test_batch(llm: LLM, example: Any) -> None:
    expected = {"shapes.png": "3", "star.jpg": "1", "triangles.png": "3", "four.webp": "4"}
    assert example("vllm_batch").count(llm) == expected


def test_chat_images(llm: LLM, example: Any) -> None:
    assert example("vllm_chat_images").talk(llm) == ["red", "star"]


def test_video_frames(llm: LLM, example: Any) -> None:
    assert example("vllm_video_frames").watch(llm) == "the second"


def test_sampling(llm: LLM, example: Any) -> None:
    module = example("vllm_sampling")
    drawn = module.draw(llm)
    assert drawn == module.draw(llm) and len(set(drawn)) > 1
    answer = module.look(llm)
    assert answer.text == "Hello! Show me a picture of some shapes"
    assert answer.stop_reason == " and" and len(answer.logprobs[0]) == 2


def test_guided_json(llm: LLM, example: Any) -> None:
    module = example("vllm_guided_json")
    scene = module.extract(llm)
    assert scene.count == 3 and scene.objects[0] == module.Thing(color="red", shape="circle")
    assert module.choose(llm) == "red"
    assert module.match(llm) == "3"
