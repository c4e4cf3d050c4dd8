"""The embedded model in int8: it answers as it does in float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from harness import EXAMPLES, markdown, serve, stream
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay.model_folder import EMBEDDED_MODEL

PICTURES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".png", ".jpg"))
QUESTIONS = ("What is this a picture of?\n\n", "How many objects are there?\n\n")
NUM_NEW_TOKENS = 24


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_int8_answers_about_the_examples_as_float32_does(dtype: str) -> None:
    processor: Any = AutoProcessor.from_pretrained(EMBEDDED_MODEL)
    model = AutoModelForImageTextToText.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    asked = [(picture, question) for picture in PICTURES for question in QUESTIONS]
    with serve("--dtype", dtype, "--quantize", "int8") as server:
        for picture, question in asked:
            prompt = markdown(picture) + question
            found = [
                e["token"]["id"] for e in stream(server, prompt, max_new_tokens=NUM_NEW_TOKENS)
            ]
            assert found == answer(processor, model, picture, question), (picture.name, question)


def answer(processor: Any, model: Any, picture: Path, question: str) -> list[int]:
    """Token ids of `generate`, greedy."""
    with Image.open(picture) as opened:
        images = [opened.convert("RGB")]
    text = processor.image_token + question
    inputs = processor(text=text, images=images, return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=NUM_NEW_TOKENS)
    ids: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
    return ids
