"""From `inputs` to token ids, with and without images."""

import asyncio
import base64
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from scripted_router import serve

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError
from inlay_router.fetch import Fetcher
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.request import ImagePlace, Prompt


def data_uri(color: int = 0) -> str:
    buffer = BytesIO()
    Image.new("L", (3, 3), color).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read(inputs: str, truncate: int | None = None, **options: Any) -> Prompt:
    async def scenario() -> Prompt:
        async with serve(**options) as edge:
            return await edge.service.admission.prompts.read(inputs, truncate=truncate)

    return asyncio.run(scenario())


def text_only() -> pb.ModelFacts:
    facts = scripted_facts()
    facts.takes_images = False
    return facts


def test_text_is_tokenised_here() -> None:
    prompt = read("abc")
    assert prompt.token_ids == (64, 65, 66)
    assert prompt.preparation is None
    assert prompt.places == ()


def test_a_long_text_is_tokenised_like_a_short_one() -> None:
    assert read("ab" * 5_000).token_ids == (64, 65) * 5_000


def test_truncate_keeps_the_end() -> None:
    assert read("abc", truncate=2).token_ids == (65, 66)
    assert read("abc", truncate=3).token_ids == (64, 65, 66)
    assert read("abc", truncate=9).token_ids == (64, 65, 66)


def test_images_are_prepared_where_they_stand() -> None:
    prompt = read(f"a![]({data_uri(1)})b![]({data_uri(2)})")
    assert prompt.token_ids == (64, *[258] * 4, 65, *[258] * 4)
    assert prompt.places == (ImagePlace(start=1, end=5), ImagePlace(start=6, end=10))
    assert len(prompt.features_key) == 32
    assert prompt.preparation is not None
    chunks = prompt.preparation.chunks
    assert [chunk.WhichOneof("content") for chunk in chunks] == ["text", "image", "text", "image"]
    assert chunks[1].image.digest != chunks[3].image.digest
    assert prompt.preparation.add_special_tokens


def test_a_model_without_eyes_reads_markdown_as_text() -> None:
    inputs = "![](http://127.0.0.1/) ![](x)"
    prompt = read(inputs, facts=text_only())
    assert len(prompt.token_ids) == len(inputs)


def test_more_images_than_allowed_are_refused() -> None:
    inputs = f"![]({data_uri()})" * 3
    with pytest.raises(ValidationError, match="`inputs` may hold up to 2 images. Given: 3"):
        read(inputs, max_images=2)


def test_a_prompt_with_images_is_not_cut() -> None:
    inputs = f"abc![]({data_uri()})"
    assert len(read(inputs, truncate=7).token_ids) == 7
    with pytest.raises(ValidationError, match="`truncate` must be >= 7, the tokens of this prompt"):
        read(inputs, truncate=6)


def test_a_bad_image_is_refused() -> None:
    with pytest.raises(ValidationError, match="invalid image: not one of PNG"):
        read("![](data:image/png;base64,aGk=)")


def test_one_bad_image_ends_the_fetching_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()

    async def fetch(self: Fetcher, url: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr("inlay_router.fetch.Fetcher.fetch", fetch)
    with pytest.raises(ValidationError, match="invalid image"):
        read("![](http://example.org/a.png)![](data:,nothing)")
    assert left.is_set()


def test_private_addresses_are_refused() -> None:
    with pytest.raises(ValidationError, match="its host has no public address"):
        read("![](http://127.0.0.1:1/a.png)")
