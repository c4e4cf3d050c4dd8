import base64
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.pipelines.prompts import IMAGE_TOKEN, read_prompt, read_prompts

EXAMPLES = Path(__file__).parents[2] / "examples"
URL = "https://example.org/a.png"
OTHER_URL = "data:image/png;base64,AAAA"
IMAGE = {"type": "image_url", "image_url": {"url": URL}}
OTHER = {"type": "image_url", "image_url": {"url": OTHER_URL}}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("prompt", "content"),
    [
        ("Hi", "Hi"),
        (("Hi", URL), [IMAGE, text("Hi")]),
        (("Hi", [URL, OTHER_URL]), [IMAGE, OTHER, text("Hi")]),
        (([URL, OTHER_URL], "Hi"), [IMAGE, OTHER, text("Hi")]),
        ((f"Hi{IMAGE_TOKEN}", URL), [text("Hi"), IMAGE]),
        (
            (f"{IMAGE_TOKEN}a{IMAGE_TOKEN}b", [URL, OTHER_URL]),
            [IMAGE, text("a"), OTHER, text("b")],
        ),
    ],
)
def test_a_prompt_becomes_one_message(prompt: Any, content: Any) -> None:
    assert read_prompt(prompt) == [{"role": "user", "content": content}]


def test_messages_stay_and_their_images_become_urls() -> None:
    first = {"role": "system", "content": "Be kind."}
    parts = [
        text("Hi"),
        {"type": "image_data", "image_data": {"data": URL}},
        {"type": "image_url", "image_url": OTHER_URL},
    ]
    second = {"role": "user", "content": parts}
    assert read_prompt([first, second]) == [
        first,
        {"role": "user", "content": [text("Hi"), IMAGE, OTHER]},
    ]


def test_a_token_places_the_image_of_a_message() -> None:
    message = {"role": "user", "content": [text(f"a{IMAGE_TOKEN}b"), IMAGE]}
    assert read_prompt([message])[0]["content"] == [text("a"), IMAGE, text("b")]


def test_images_of_all_kinds_become_urls(tmp_path: Path) -> None:
    star = EXAMPLES / "star.jpg"
    exact = f"data:;base64,{base64.b64encode(star.read_bytes()).decode()}"
    for image in (str(star), star, star.as_uri()):
        assert read_prompt(("Hi", image))[0]["content"][0]["image_url"]["url"] == exact
    drawn = read_prompt(("Hi", Image.new("RGB", (4, 4))))[0]["content"][0]
    assert drawn["image_url"]["url"].startswith("data:image/")


def test_a_list_is_a_batch() -> None:
    assert read_prompts(["a", "b"]) == [read_prompt("a"), read_prompt("b")]
    assert read_prompts([("a", URL)]) == [read_prompt(("a", URL))]
    assert read_prompts("a") == [read_prompt("a")]
    assert read_prompts([]) == []
    messages = [{"role": "user", "content": "a"}]
    assert read_prompts(messages) == [messages]
    assert read_prompts([messages, messages]) == [messages, messages]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (5, "a prompt is a text, .* Given: `5`"),
        (("a", "b", "c"), "a prompt is a text"),
        ((URL.encode(), 1), r"Given: \(bytes, `1`\)"),
        (("Hi", 3), "an image is a PIL image, .* Given: `3`"),
        ((f"{IMAGE_TOKEN}Hi", [URL, URL]), "one IMAGE_TOKEN for each .* Given: 1 for 2 images"),
        (f"{IMAGE_TOKEN}Hi", "Given: 1 for 0 images"),
        ([{"role": "user", "content": ["x"]}], "a part of a message is an object"),
        ([{"role": "user", "content": "x"}, "y"], "Given: `'y'` among messages"),
        (["a", 5], "prompt 1: a prompt is a text"),
    ],
)
def test_what_is_no_prompt_is_said(prompt: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_prompts(prompt)


def test_a_file_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(FileNotFoundError):
        read_prompt(("Hi", "nowhere.png"))
