"""Tokens that a client types in a prompt, and the pieces that they are taken apart into."""

import asyncio
from typing import Any

import httpx
import pytest
from scripted_router import serve
from test_router_prompt import data_uri, read
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.processors import TemplateProcessing

from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.text.tokenizer import Tokenizer
from inlay_router.text.typed import WORD_JOINER, TypedTokens, tokens_for_text

IMAGE_ID, END_ID = 258, 257


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("plain <imag", ["plain <imag"]),
        ("a<image>b", ["a<", "image>b"]),
        ("<image><image>", ["<", "image><", "image>"]),
        ("<<image>", ["<<", "image>"]),
        ("|x|x|", ["|", "x|", "x|"]),
    ],
)
def test_tokens_are_cut_behind_their_first_character(text: str, pieces: list[str]) -> None:
    assert TypedTokens(["<image>", "|x|", "@"]).pieces(text) == pieces


def test_a_broken_text_holds_no_token() -> None:
    typed = TypedTokens(["<image>", "<image><image>"])
    broken = typed.broken("a<image><image>")
    assert broken == f"a<{WORD_JOINER}image><{WORD_JOINER}image>"
    assert TypedTokens([]).broken("<image>") == "<image>"


def test_pieces_stand_where_they_stand_in_the_text() -> None:
    tokenizer = Tokenizer(scripted_facts().tokenizer_json)
    whole = tokenizer.spans("aé🙂<imag")
    assert tokenizer.spans_of(["aé🙂<imag"]) == whole
    assert tokenizer.spans_of(["aé", "🙂<imag"]) == whole


def test_tokens_of_the_template_stand_around_pieces() -> None:
    fast = FastTokenizer.from_str(scripted_facts().tokenizer_json)
    fast.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 256), ("</s>", 257)]
    )
    tokenizer = Tokenizer(fast.to_str())
    spans = tokenizer.spans_of(["<", "image>"])
    assert [id_ for id_, _, _ in spans] == [256, *map(ord_id, "<image>"), 257]
    assert [(start, end) for _, start, end in spans[1:3]] == [(0, 1), (1, 2)]


def ord_id(character: str) -> int:
    (token_id,) = Tokenizer(scripted_facts().tokenizer_json).encode(character)
    return token_id


def test_which_tokens_are_text() -> None:
    facts = scripted_facts()
    tokenizer = Tokenizer(facts.tokenizer_json)
    text = "a</s><image>"
    assert len(tokens_for_text(facts, tokenizer, has_plain=False).pieces(text)) == 2
    assert len(tokens_for_text(facts, tokenizer, has_plain=True).pieces(text)) == 3


def test_a_typed_placeholder_is_text_and_a_special_token_is_special() -> None:
    token_ids = read("a<image></s>").token_ids
    assert IMAGE_ID not in token_ids
    assert token_ids[-1] == END_ID
    assert len(token_ids) == len("a<image>") + 1


def test_a_plain_prompt_has_no_special_tokens() -> None:
    token_ids = read("a<image></s>", has_plain_prompts=True).token_ids
    assert token_ids == tuple(map(ord_id, "a<image></s>"))


def test_beside_an_image_a_typed_placeholder_is_text_for_the_processor() -> None:
    prompt = read(f"<image>![]({data_uri()})</s>")
    assert prompt.preparation is not None
    texts = [chunk.text for chunk in prompt.preparation.chunks if chunk.text]
    assert texts == [f"<{WORD_JOINER}image>", "</s>"]


def test_a_placeholder_in_an_address_stays() -> None:
    """It is no part of a text."""
    uri = data_uri().replace(";base64", ";name=<image>;base64")
    prompt = read(f"![]({uri})")
    assert prompt.preparation is not None
    assert len(prompt.places) == 1


@pytest.mark.parametrize("truncate", [2, 8, 99])
def test_truncate_counts_the_tokens_of_the_text(truncate: int) -> None:
    whole = read("a<image>").token_ids
    assert read("a<image>", truncate=truncate).token_ids == whole[-truncate:]


def test_tokenize_tells_the_tokens_of_the_text() -> None:
    async def scenario() -> httpx.Response:
        async with serve() as edge, edge.client as client:
            return await client.post("/tokenize", json={"inputs": "a<image>"})

    spans: list[dict[str, Any]] = asyncio.run(scenario()).json()
    assert "".join(span["text"] for span in spans) == "a<image>"
    assert len(spans) == 8
