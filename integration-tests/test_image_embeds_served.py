"""Embeddings in an image's stead, over HTTP, on two shards that die."""

import base64
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import EXAMPLES, Server, generate, markdown, post, serve, stream, wait_until
from safetensors.torch import save

from inlay.model_folder import EMBEDDED_MODEL
from inlay_router.images.image_embeds import MEDIA_TYPE

PAGE = Path(__file__).parents[1] / "docs" / "image-embeds.md"
SHAPES, STAR = EXAMPLES / "shapes.png", EXAMPLES / "star.jpg"
ASK = "What is this a picture of?\n\n"


@pytest.fixture(scope="module")
def embeds_of() -> Callable[..., str]:
    """The function that the page shows."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    page_function: Callable[..., str] = names["embeds_of"]
    return lambda *paths: page_function(EMBEDDED_MODEL, *paths)


@pytest.fixture(scope="module")
def two_shards() -> Iterator[Server]:
    with serve("--dtype", "float32", "--num-shard", "2", "--allow-image-embeds") as running:
        yield running


def in_markdown(embeds: str) -> str:
    return f"![](data:{MEDIA_TYPE};base64,{embeds})"


def chat(server: Server, *parts: dict[str, Any]) -> str:
    body = {
        "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": ASK}]}],
        "max_tokens": 30,
        "temperature": 0,
    }
    status, answer, _ = post(f"{server.url}/v1/chat/completions", body)
    assert status == 200, answer
    text = answer["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def test_the_answer_is_the_one_to_the_image(
    two_shards: Server, embeds_of: Callable[..., str]
) -> None:
    for path in (SHAPES, STAR):
        expected = generate(two_shards, markdown(path) + ASK, max_new_tokens=30)
        embeds = embeds_of(path)
        assert generate(two_shards, in_markdown(embeds) + ASK, max_new_tokens=30) == expected
        part = {"type": "image_embeds", "image_embeds": embeds}
        by_url = {"type": "image_url", "image_url": {"url": in_markdown(embeds)[4:-1]}}
        assert chat(two_shards, part) == chat(two_shards, by_url)


def test_several_images_are_one_tensor(two_shards: Server, embeds_of: Callable[..., str]) -> None:
    apart = markdown(SHAPES) + markdown(STAR) + ASK
    together = in_markdown(embeds_of(SHAPES, STAR)) + ASK
    expected = generate(two_shards, apart, max_new_tokens=30)
    assert generate(two_shards, together, max_new_tokens=30) == expected


def test_the_prefix_cache_knows_them(two_shards: Server, embeds_of: Callable[..., str]) -> None:
    prompt = in_markdown(embeds_of(SHAPES)) + "Now a text that fills a block or two. " + ASK
    parameters = {"max_new_tokens": 8, "details": True}
    body = {"inputs": prompt, "parameters": parameters}
    first, again = (post(f"{two_shards.url}/generate", body)[1] for _ in range(2))
    assert again["generated_text"] == first["generated_text"]
    assert again["details"]["cached_tokens"] >= 16


def test_a_wrong_width_is_refused_in_words(
    two_shards: Server, embeds_of: Callable[..., str]
) -> None:
    wrong = base64.b64encode(save({"x": torch.zeros(9, 64)})).decode()
    status, answer, _ = post(f"{two_shards.url}/generate", {"inputs": in_markdown(wrong)})
    assert status == 422
    assert "`image_embeds` must have the shape (num_images, 9, 192)" in answer["error"]
    assert "Given: 9 embeddings of 64 numbers" in answer["error"]


def test_a_stream_outlives_its_shards(two_shards: Server, embeds_of: Callable[..., str]) -> None:
    prompt = in_markdown(embeds_of(STAR)) + ASK
    long = {"max_new_tokens": 300, "do_sample": True, "temperature": 1.5, "seed": 11}
    undisturbed = [event["token"]["id"] for event in stream(two_shards, prompt, **long)]
    events = stream(two_shards, prompt, **long)
    token_ids = [next(events)["token"]["id"]]
    shards = two_shards.children("inlay_shard")
    old_ids = {shard.pid for shard in shards}
    shards[0].send_signal(signal.SIGKILL)
    token_ids += [event["token"]["id"] for event in events]
    assert token_ids == undisturbed
    wait_until(lambda: not old_ids & {c.pid for c in two_shards.children("inlay_shard")})
