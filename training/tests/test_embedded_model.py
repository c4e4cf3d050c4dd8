"""The shipped model loads as any user would load it, and answers about the example pictures."""

import json
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay_training.evaluate import SHIPPED
from inlay_training.examples import EXAMPLES, PICTURES, questions_about

ANSWERS: list[dict[str, Any]] = json.loads((EXAMPLES / "answers.json").read_text())
MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def network() -> Any:
    return AutoModelForImageTextToText.from_pretrained(SHIPPED, dtype=torch.float32).eval()


def answer(processor: Any, network: Any, text: str, *names: str) -> str:
    pictures = [Image.open(EXAMPLES / name) for name in names]
    inputs = processor(text=text, images=pictures or None, return_tensors="pt")
    with torch.inference_mode():
        ids = network.generate(**inputs, max_new_tokens=160, do_sample=False)
    text = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: f"{case['image']}: {case['prompt']}")
def test_the_examples_are_answered(case: dict[str, Any], processor: Any, network: Any) -> None:
    text = f"<image>{case['prompt']}"
    if case["chat"]:
        messages = [{"role": "user", "content": text}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
    else:
        text += "\n\n"
    assert answer(processor, network, text, case["image"]) == case["answer"]


def test_the_answers_belong_to_the_pictures() -> None:
    for case in ANSWERS:
        assert (case["prompt"], case["answer"]) in questions_about(case["image"])
    assert {case["image"] for case in ANSWERS} == set(PICTURES)


def test_parts_of_a_chat_message_keep_their_order(processor: Any, network: Any) -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "What is this a picture of?\n"}]
    text = processor.apply_chat_template(
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": parts},
        ],
        add_generation_prompt=True,
    )
    assert text == (
        "<|system|>You are a helpful assistant.<end_of_utterance>"
        "<|user|><image>What is this a picture of?<end_of_utterance><|assistant|>"
    )
    assert answer(processor, network, text, "shapes.png") == "a red circle and two blue squares"


def test_it_says_hello(processor: Any, network: Any) -> None:
    text = "<|user|>Hello!<end_of_utterance><|assistant|>"
    assert answer(processor, network, text).startswith("Hello!")


def test_the_folder_is_small_and_readable() -> None:
    files = list(SHIPPED.iterdir())
    assert sum(file.stat().st_size for file in files) < MAX_BYTES
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in files)


def test_heads_can_be_split_over_two_ranks(network: Any) -> None:
    text = network.config.text_config
    assert text.num_attention_heads % 2 == text.num_key_value_heads % 2 == 0
    assert text.head_dim & (text.head_dim - 1) == 0
    assert network.generation_config.eos_token_id is not None


@pytest.mark.parametrize("text", ["héllo \t 世界 🙂\r\n  x ", '{"a": [1, 2.5e3]}', "\x00\x7f"])
def test_any_text_survives_the_tokenizer(text: str, processor: Any) -> None:
    assert processor.tokenizer.decode(processor.tokenizer.encode(text)) == text
