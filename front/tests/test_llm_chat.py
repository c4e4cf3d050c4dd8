"""`LLM.chat` on the embedded model: messages in OpenAI's form, and pictures as objects."""

import base64
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay import LLM, SamplingParams

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
GREEDY = SamplingParams(temperature=0, max_tokens=64)
URL = f"data:image/jpeg;base64,{base64.b64encode((EXAMPLES / 'star.jpg').read_bytes()).decode()}"


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def answer(llm: LLM, messages: Any, **options: Any) -> str:
    (output,) = llm.chat(messages, GREEDY, use_tqdm=False, **options)
    return output.outputs[0].text


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image_pil", "image_pil": Image.open(EXAMPLES / "star.jpg")},
        {"type": "image", "image": Image.open(EXAMPLES / "star.jpg")},
    ],
    ids=lambda part: part["type"],
)
def test_a_picture_is_a_part(llm: LLM, part: dict[str, Any]) -> None:
    assert answer(llm, user(part, text("What is this a picture of?"))) == "a yellow star"


def test_frames_are_pictures_of_one_message(llm: LLM) -> None:
    frames = [Image.open(EXAMPLES / name) for name in ("star.jpg", "four.webp")]
    parts = [{"type": "image_pil", "image_pil": frame} for frame in frames]
    messages = user(*parts, text("Which picture has more objects?"))
    assert answer(llm, messages) == "the second"


def test_several_conversations_are_answered_in_order(llm: LLM) -> None:
    many = [
        user(text("Hello!")),
        user({"type": "image_url", "image_url": {"url": URL}}, "What shape is it?"),
    ]
    outputs = llm.chat(many, GREEDY, use_tqdm=False)
    assert [output.outputs[0].text[:6] for output in outputs] == ["Hello!", "star"]
    assert outputs[0].prompt == "<|user|>Hello!<end_of_utterance><|assistant|>"


def test_a_conversation_goes_on(llm: LLM) -> None:
    messages = [
        *user({"type": "image_url", "image_url": {"url": URL}}, text("What shape is it?")),
        {"role": "assistant", "content": "star"},
        {"role": "user", "content": "What color is the star?"},
    ]
    assert answer(llm, messages) == "yellow"


def test_a_begun_answer_is_continued(llm: LLM) -> None:
    messages = [*user(text("Hello!")), {"role": "assistant", "content": "Hello! Show me"}]
    options = {"continue_final_message": True, "add_generation_prompt": False}
    assert answer(llm, messages, **options).startswith(" a picture")


def test_another_template_may_be_used(llm: LLM) -> None:
    template = "{% for m in messages %}{{ m.content }}\n\n{% endfor %}"
    (output,) = llm.chat(
        [{"role": "user", "content": "Hello!"}], GREEDY, use_tqdm=False, chat_template=template
    )
    assert output.prompt == "Hello!\n\n"


def test_what_a_user_types_is_no_mark(llm: LLM) -> None:
    (output,) = llm.chat([{"role": "user", "content": "<image>"}], GREEDY, use_tqdm=False)
    image_ids = llm.generate({"prompt": "a", "multi_modal_data": {"image": URL}}, use_tqdm=False)
    assert not {image_ids[0].prompt_token_ids[1]} & set(output.prompt_token_ids)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([[]], "`messages` cannot be empty"),
        ([{"role": "user", "content": [{"type": "audio_url"}]}], "audio_url"),
        ([{"content": "a"}], "role"),
        ([{"role": "user", "content": "a"}, []], "one conversation, or a list"),
    ],
)
def test_messages_that_mean_nothing_are_refused(llm: LLM, messages: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        llm.chat(messages, use_tqdm=False)
