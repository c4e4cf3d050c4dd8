"""Through HTTP, alone or in a crowd, on one shard or two: the tokens of `transformers` generate."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import EXAMPLES, Server, markdown, serve, stream
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay.model_folder import EMBEDDED_MODEL

NUM_NEW_TOKENS = 24
PICTURES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".png", ".jpg"))


def crowd() -> list[tuple[Path | None, str]]:
    """Sixteen requests, with and without pictures, of mixed length."""
    questions = [
        "What is this a picture of?\n\n",
        "How many objects are there?\n\n",
        "Extract the objects as JSON.\n\n",
    ]
    seen = [(PICTURES[n % len(PICTURES)], question) for n, question in enumerate(questions * 4)]
    return [*seen, (None, "hello"), (None, "a b " * 40), (None, "Ünïcödé 😀 ?"), (None, "1 2 3 4")]


@pytest.fixture(scope="module")
def reference() -> list[list[int]]:
    """What `generate` answers to each of the crowd, alone and greedy, in float32."""
    processor = AutoProcessor.from_pretrained(EMBEDDED_MODEL)
    model = AutoModelForImageTextToText.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    return [directly(processor, model, picture, question) for picture, question in crowd()]


def directly(processor: Any, model: Any, picture: Path | None, question: str) -> list[int]:
    text = question
    images = None
    if picture is not None:
        text = processor.image_token + question
        images = [Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")]
    inputs = processor(text=text, images=images, return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=NUM_NEW_TOKENS)
    ids: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
    return ids


def served(server: Server, picture: Path | None, question: str) -> list[int]:
    prompt = (markdown(picture) if picture else "") + question
    return [e["token"]["id"] for e in stream(server, prompt, max_new_tokens=NUM_NEW_TOKENS)]


def test_alone(server: Server, reference: list[list[int]]) -> None:
    assert [served(server, *one) for one in crowd()] == reference


def test_in_a_crowd(server: Server, reference: list[list[int]]) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda one: served(server, *one), crowd())) == reference


def test_on_two_shards(reference: list[list[int]]) -> None:
    with (
        serve("--dtype", "float32", "--num-shard", "2") as server,
        ThreadPoolExecutor(16) as pool,
    ):
        assert list(pool.map(lambda one: served(server, *one), crowd())) == reference
