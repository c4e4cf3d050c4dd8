"""From `inputs` to token ids, with and without images."""

import asyncio
import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripted_router import serve

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError
from inlay_router.images.fetch import Fetcher
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.request import Prompt


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
    assert read("ab" * 3_000).token_ids == (64, 65) * 3_000


def test_truncate_keeps_the_end() -> None:
    assert read("abc", truncate=2).token_ids == (65, 66)
    assert read("abc", truncate=3).token_ids == (64, 65, 66)
    assert read("abc", truncate=9).token_ids == (64, 65, 66)


def test_images_are_prepared_where_they_stand() -> None:
    prompt = read(f"a![]({data_uri(1)})b![]({data_uri(2)})")
    assert prompt.token_ids == (64, *[258] * 4, 65, *[258] * 4)
    assert [(place.start, place.end) for place in prompt.places] == [(1, 5), (6, 10)]
    assert len({place.digest for place in prompt.places}) == 2
    assert len(prompt.features_key) == 32
    assert prompt.preparation is not None
    chunks = prompt.preparation.chunks
    assert [chunk.WhichOneof("content") for chunk in chunks] == ["text", "image", "text", "image"]
    assert chunks[1].image.digest != chunks[3].image.digest
    assert prompt.preparation.add_special_tokens


def test_a_local_image_is_read_from_the_allowed_folder(tmp_path: Path) -> None:
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    inputs = f"![](file://{tmp_path}/a.png)"
    assert len(read(inputs, allowed_local_images=tmp_path).places) == 1
    with pytest.raises(ValidationError, match="invalid image content"):
        read(inputs)


def test_a_model_without_eyes_reads_markdown_as_text() -> None:
    inputs = "![](http://127.0.0.1/) ![](x)"
    prompt = read(inputs, facts=text_only())
    assert len(prompt.token_ids) == len(inputs)


def test_more_images_than_allowed_are_refused() -> None:
    inputs = f"![]({data_uri()})" * 3
    with pytest.raises(
        ValidationError, match="`inputs` may hold up to 2 images. Given: at least 3"
    ):
        read(inputs, max_images=2)


def test_truncate_cuts_text_before_an_image() -> None:
    inputs = f"abc![]({data_uri()})d"
    assert read(inputs, truncate=8) == read(inputs)
    prompt = read(inputs, truncate=6)
    assert prompt.token_ids == (66, *[258] * 4, 67)
    assert [(place.start, place.end) for place in prompt.places] == [(1, 5)]
    assert prompt.features_key != read(inputs).features_key, "the image stands elsewhere"
    assert read(inputs, truncate=5).token_ids == (*[258] * 4, 67)


@pytest.mark.parametrize("truncate", [1, 2, 4])
def test_truncate_does_not_cut_into_an_image(truncate: int) -> None:
    sentence = (
        "`truncate` must not cut into an image: the first of 1 ends at token 7 of 8. "
        f"Given: {truncate}"
    )
    with pytest.raises(ValidationError, match=sentence):
        read(f"abc![]({data_uri()})d", truncate=truncate)


def test_truncate_does_not_cut_into_an_image_that_comes_first() -> None:
    with pytest.raises(ValidationError, match="must not cut into an image"):
        read(f"![]({data_uri()})d", truncate=4)


def test_a_bad_image_is_refused() -> None:
    with pytest.raises(ValidationError, match="invalid image: not one of PNG"):
        read("![](data:image/png;base64,aGk=)")


def test_one_bad_image_ends_the_fetching_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()

    async def fetch(self: Fetcher, url: str, budget: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr("inlay_router.images.fetch.Fetcher.fetch", fetch)
    with pytest.raises(ValidationError, match="invalid image"):
        read("![](http://example.org/a.png)![](data:,nothing)")
    assert left.is_set()


def test_private_addresses_are_refused() -> None:
    with pytest.raises(ValidationError, match="its host has no public address"):
        read("![](http://127.0.0.1:1/a.png)")


def test_a_text_that_cannot_fit_is_not_even_tokenised() -> None:
    """The longest token of the scripted model has 7 characters, and 1024 tokens may be given."""
    sentence = "`inputs` must have less than 1023 tokens. Given: at least 1025"
    with pytest.raises(ValidationError, match=sentence):
        read("x" * (1024 * 7 + 1))
    with pytest.raises(ValidationError, match=sentence):
        read("x" * (1024 * 7 + 1) + f"![]({data_uri()})")


def test_of_a_text_that_is_much_too_long_the_end_is_tokenised() -> None:
    text = "ab" * 5_000_000
    assert read(text, truncate=3).token_ids == (65, 64, 65)
