"""Embeddings in an image's stead, from a client's bytes to the shard."""

import asyncio
import base64
import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from scripted_chats import facts
from scripted_router import serve

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError
from inlay_router.images.image_embeds import (
    MEDIA_TYPE,
    EmbedsLimits,
    EmbedsPiece,
    SeenPiece,
    is_embeds_uri,
    read_image_embeds,
)
from inlay_router.markdown import TextPiece

LIMITS = EmbedsLimits(max_bytes=4096, max_images=3, max_tokens=20)
NUMBERS = np.arange(2 * 5 * 4, dtype=np.float32).reshape(2, 5, 4)


def read(data: bytes | str) -> list[pb.ImageEmbeds]:
    return read_image_embeds(EmbedsPiece(data), LIMITS)


def file_of(header: Any, numbers: bytes = b"") -> bytes:
    """A safetensors file, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def tensor(dtype: str, shape: list[int], num_bytes: int) -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, num_bytes]}}


def test_each_image_of_a_file_is_read() -> None:
    first, second = read(save({"any name": NUMBERS}))
    assert (first.dtype, first.num_tokens, first.width) == ("float32", 5, 4)
    assert first.data == NUMBERS[0].tobytes()
    assert second.data == NUMBERS[1].tobytes()
    assert len(first.digest) == 32 and first.digest != second.digest
    assert read(base64.b64encode(save({"x": NUMBERS})).decode()) == [first, second]


def test_one_image_needs_no_axis_of_images() -> None:
    assert read(save({"x": NUMBERS[0]})) == read(save({"x": NUMBERS[:1]}))


def test_the_digest_names_type_shape_and_numbers() -> None:
    files = [save({"x": NUMBERS[0]}), save({"x": NUMBERS[0].reshape(4, 5)})]
    files += [save({"x": NUMBERS[0].astype(np.float16)}), save({"x": NUMBERS[0] + 1})]
    files.append(file_of(tensor("BF16", [5, 8], 80), NUMBERS[0].tobytes()))
    assert len({read(file)[0].digest for file in files}) == len(files)


def test_what_else_a_file_says_is_passed_over() -> None:
    (embeds,) = read(save({"x": NUMBERS[0]}, metadata={"format": "pt"}))
    assert embeds.num_tokens == 5


REFUSED: dict[str, tuple[bytes | str, str]] = {
    "too long": (save({"x": np.zeros((30, 40), np.float32)}), "must have <= 4096 bytes. Given: 48"),
    "a pickle": (b"PK\x03\x04archive/data.pkl", "must be a safetensors file.*is a pickle"),
    "an old pickle": (b"\x80\x02}q\x00.", "must be a safetensors file.*is a pickle"),
    "empty": (b"", "must be a safetensors file. Given: 0 bytes of no such"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(50), "must be a safetensors file. Given: 58 bytes"),
    "no JSON": (file_of(b"{"), "one with a bad header"),
    "no object": (file_of([1]), "one with a bad header"),
    "negative": (file_of({"x": {"dtype": "F32", "shape": [-1]}}), "one with a bad header"),
    "deep": (file_of(b'{"x":' + b"[" * 1500 + b"]" * 1500 + b"}"), "one with a bad header"),
    "two tensors": (save({"x": NUMBERS[0], "y": NUMBERS[0]}), "must hold one tensor. Given: 2"),
    "no tensor": (file_of({"__metadata__": {}}), "must hold one tensor. Given: 0"),
    "whole numbers": (save({"x": np.zeros((2, 2), np.int64)}), "type F32, BF16, F16. Given: I64"),
    "one axis": (save({"x": np.zeros(4, np.float32)}), r"must have the shape.*Given: \(4,\)"),
    "four axes": (save({"x": np.zeros((1, 1, 2, 2), np.float32)}), r"Given: \(1, 1, 2, 2\)"),
    "nothing": (save({"x": np.zeros((0, 4), np.float32)}), r"Given: \(0, 4\)"),
    "huge": (file_of(tensor("F32", [2**40, 2**40], 16), bytes(16)), "must have the shape"),
    "images": (save({"x": np.zeros((4, 1, 2), np.float32)}), "may hold up to 3 images. Given: 4"),
    "tokens": (save({"x": np.zeros((21, 2), np.float32)}), "must have <= 20 embeddings an image"),
    "too few bytes": (
        file_of(tensor("F32", [2, 2], 16), bytes(12)),
        "its shape says, 16. Given: 1",
    ),
    "too many": (file_of(tensor("F32", [2, 2], 16), bytes(20)), "its shape says, 16. Given: 20"),
    "a hole": (
        file_of({"x": {"dtype": "F16", "shape": [2, 2], "data_offsets": [8, 16]}}, bytes(16)),
        "its shape says, 8. Given: 16",
    ),
    "no base64": ("%%%", "must be base64"),
    "no ASCII": ("ä", "must be base64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_words(case: str) -> None:
    data, words = REFUSED[case]
    with pytest.raises(ValidationError, match="Input validation error: `image_embeds` .*" + words):
        read(data)


@given(st.binary(max_size=200) | st.builds(file_of, st.binary(max_size=100), st.binary()))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ValidationError):
        read(data)


def test_data_uris_are_told_by_their_type() -> None:
    assert is_embeds_uri(f"DATA:{MEDIA_TYPE};base64,AAAA")
    assert not is_embeds_uri("data:image/png;base64,AAAA")
    assert not is_embeds_uri(f"http://a/{MEDIA_TYPE}")


TEXT = base64.b64encode(save({"x": NUMBERS})).decode()
MARKDOWN = f"see ![](data:{MEDIA_TYPE};base64,{TEXT}) what?"


def post(path: str, body: Any, **config: Any) -> tuple[int, Any]:
    async def scenario() -> tuple[int, Any]:
        async with serve(**config) as edge, edge.client as client:
            answer = await client.post(path, json=body)
            return answer.status_code, answer.json()

    return asyncio.run(scenario())


def chat(*parts: Any, **config: Any) -> tuple[int, Any]:
    body = {"messages": [{"role": "user", "content": list(parts)}]}
    return post("/v1/chat/completions", body, facts=facts(), **config)


def test_without_the_flag_they_are_refused() -> None:
    words = "this server runs without --allow-image-embeds"
    status, body = post("/generate", {"inputs": MARKDOWN})
    assert status == 422 and words in body["error"]
    part = {"type": "image_embeds", "image_embeds": TEXT}
    status, body = chat(part)
    assert status == 422 and words in body["error"]
    assert "`messages[0].content[0]`" in body["error"]


def test_a_chat_takes_both_forms_of_a_part() -> None:
    plain = {"type": "image_embeds", "image_embeds": TEXT}
    nested = {"type": "image_embeds", "image_embeds": {"image_embeds": TEXT}}
    answers = [chat(part, has_image_embeds=True) for part in (plain, nested)]
    assert [status for status, _ in answers] == [200, 200]
    counts = [answer["usage"]["prompt_tokens"] for _, answer in answers]
    assert counts[0] == counts[1] > 2 * 5


def test_a_refusal_in_a_chat_names_the_part() -> None:
    text = {"type": "text", "text": "see"}
    status, body = chat(text, {"type": "image_embeds", "image_embeds": "AA"}, has_image_embeds=True)
    assert status == 422
    assert "`messages[0].content[1]`: `image_embeds` must be base64" in body["error"]
    grid = {"image_embeds": TEXT, "image_grid_thw": "AAAA"}
    status, body = chat({"type": "image_embeds", "image_embeds": grid}, has_image_embeds=True)
    assert status == 422 and "image_grid_thw" in body["error"]
    status, body = chat({"type": "image_embeds"}, has_image_embeds=True)
    assert status == 422 and "no `image_embeds`" in body["error"]


def test_they_stand_where_the_markdown_is() -> None:
    async def scenario() -> tuple[int, pb.PrepareRequest]:
        async with serve(has_image_embeds=True) as edge, edge.client as client:
            answer = await client.post("/generate", json={"inputs": MARKDOWN})
            prompt = await edge.service.admission.prompts.read(MARKDOWN)
            assert prompt.preparation is not None
            return answer.status_code, prompt.preparation

    status, request = asyncio.run(scenario())
    assert status == 200
    kinds = [chunk.WhichOneof("content") for chunk in request.chunks]
    assert kinds == ["text", "embeds", "embeds", "text"]
    assert request.chunks[2].embeds.data == NUMBERS[1].tobytes()


def test_python_hands_them_over_without_a_flag() -> None:
    async def scenario() -> int:
        async with serve() as edge:
            pieces: list[TextPiece | SeenPiece] = [
                TextPiece("see "),
                EmbedsPiece(save({"x": NUMBERS[0]})),
            ]
            prompt = await edge.service.admission.prompts.read_pieces(pieces)
            return prompt.places[0].end - prompt.places[0].start

    assert asyncio.run(scenario()) == 5


def test_images_of_all_pieces_are_counted() -> None:
    status, body = post("/generate", {"inputs": MARKDOWN * 2}, has_image_embeds=True, max_images=3)
    assert status == 422 and "up to 3 images. Given: 4" in body["error"]


def test_they_are_bounded_like_images() -> None:
    body = {"inputs": MARKDOWN}
    status, answer = post("/generate", body, has_image_embeds=True, max_image_bytes=100)
    assert status == 422 and "must have <= 100 bytes" in answer["error"]
