from collections.abc import Sequence
from typing import Any

import pytest

from inlay.offline.errors import RequestRefused
from inlay.pipelines.answers import AnswerReader, joined
from inlay.pipelines.configs import EngineConfig, GenerationConfig
from inlay.pipelines.controls import controls_of, own_names
from inlay.pipelines.requests import templated, untemplated
from inlay.pipelines.response import Response
from inlay_proto import generate_pb2 as pb
from inlay_router.markdown import ImagePiece, TextPiece
from inlay_router.request import (
    Finish,
    FinishReason,
    GenerationRequest,
    Prompt,
    Token,
    TopToken,
)


@pytest.mark.parametrize(
    ("given", "draws", "is_greedy"),
    [
        ({}, False, False),
        ({"temperature": 0.6}, True, False),
        ({"top_k": 40}, True, False),
        ({"top_p": 0.8}, True, False),
        ({"top_p": 1, "top_k": 0}, False, False),
        ({"do_sample": True}, True, False),
        ({"min_p": 0.1}, True, False),
        ({"temperature": 0, "top_k": 40}, False, True),
        ({"temperature": 0.6, "do_sample": False}, False, True),
    ],
)
def test_who_asks_for_draws_gets_them(given: Any, draws: bool, is_greedy: bool) -> None:
    controls = controls_of(GenerationConfig(**given), ())
    assert (controls.parameters.do_sample, controls.is_greedy) == (draws, is_greedy)


def test_controls_have_the_engines_names() -> None:
    config = GenerationConfig(
        max_new_tokens=7, random_seed=3, stop_words=["b"], logprobs=2, repetition_penalty=1.5
    )
    parameters = controls_of(config, ["a"]).parameters
    assert (parameters.max_new_tokens, parameters.seed) == (7, 3)
    assert (parameters.stop, parameters.top_n_tokens) == (["a", "b"], 2)
    assert parameters.repetition_penalty == 1.5
    assert controls_of(GenerationConfig(), ()).parameters.max_new_tokens == 512


@pytest.mark.parametrize(
    ("given", "kind", "value"),
    [
        ({"type": "json_schema", "json_schema": {"schema": {"a": 1}}}, "json", b'{"a": 1}'),
        ({"type": "json_object"}, "json", b'{"type": "object"}'),
        ({"type": "regex_schema", "regex_schema": "a+"}, "regex", b'"a+"'),
    ],
)
def test_formats_become_grammars(given: Any, kind: str, value: bytes) -> None:
    grammar = controls_of(GenerationConfig(response_format=given), ()).parameters.grammar
    assert grammar is not None
    assert (grammar.type, bytes(grammar.value)) == (kind, value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"response_format": {"type": "yaml"}}, "`response_format` must be .*yaml"),
        ({"output_logits": "all"}, "`output_logits` must be 'generation'.* Given: 'all'"),
        ({"logprobs": 0}, "`logprobs` must be at least 1. Given: 0"),
        ({"output_last_hidden_state": "all"}, "hidden states stay in the shards. Given: 'all'"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "`min_new_tokens` must be .* Given: 9"),
        ({"min_new_tokens": 2, "stop_words": ["a"]}, "cannot be set together with `stop_words`"),
        ({"bad_words": [" "]}, "`bad_words` must hold texts"),
        (
            {"ignore_eos": True, "response_format": {"type": "json_object"}},
            "cannot be set with a `response_format`",
        ),
    ],
)
def test_what_cannot_be_is_said(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        controls_of(GenerationConfig(**given), ())


def test_unknown_options_are_refused_by_name() -> None:
    options: dict[str, Any] = {"repetition_ngram_size": 3}
    with pytest.raises(TypeError, match="repetition_ngram_size"):
        GenerationConfig(**options)
    options = {"cache_max_entry_count": 0.5}
    with pytest.raises(TypeError, match="cache_max_entry_count"):
        EngineConfig(**options)


def test_refusals_name_fields_as_programs_do() -> None:
    with pytest.raises(RequestRefused, match=r"^`logprobs` must be"), own_names():
        raise RequestRefused("`top_n_tokens` must be")


def test_messages_of_another_shape_are_refused() -> None:
    controls = controls_of(GenerationConfig(), ())
    with pytest.raises(ValueError, match="messages are not as OpenAI writes them"):
        templated([{"content": "x"}], controls, None)
    with pytest.raises(ValueError, match="without a chat template"):
        untemplated([{"role": "user", "content": "x"}] * 2, controls)


def test_a_prompt_without_a_template_is_its_pieces() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.org/a"}}
    content = [image, {"type": "text", "text": "Hi"}]
    request = untemplated(
        [{"role": "user", "content": content}], controls_of(GenerationConfig(), ())
    )
    assert request.pieces == [ImagePiece("https://x.org/a"), TextPiece("Hi")]


def token(token_id: int, text: str, *, is_special: bool = False, logits: bytes = b"") -> Token:
    top = TopToken(token_id=9, text="9", logprob=-2.0, is_special=False)
    return Token(
        token_id=token_id,
        text=text,
        logprob=-1.0,
        is_special=is_special,
        top_tokens=(top,),
        logits=logits,
    )


def finish(reason: FinishReason) -> Finish:
    return Finish(reason=reason, generated_text="", num_generated_tokens=0, num_cached_tokens=16)


def reader(
    *,
    stop: Sequence[str] = (),
    wants_logits: bool = False,
    config: GenerationConfig | None = None,
) -> AnswerReader:
    request = GenerationRequest(
        prompt=Prompt(token_ids=(1, 2, 3)),
        max_new_tokens=9,
        stop=tuple(stop),
        top_n_tokens=1,
        wants_logits=wants_logits,
    )
    facts = pb.ModelFacts(vocab_size=3, eos_token_ids=[0])
    return AnswerReader(request, 4, facts, config or GenerationConfig())


END = token(0, "</s>", is_special=True)


def test_an_answer_leaves_its_end_token_out() -> None:
    items: list[Token | Finish] = [
        token(5, "a"),
        token(6, "b"),
        END,
        finish(FinishReason.EOS_TOKEN),
    ]
    assert reader().read(items) == Response(
        text="ab",
        input_token_len=3,
        generate_token_len=2,
        finish_reason="stop",
        token_ids=[5, 6],
        logprobs=[{5: -1.0, 9: -2.0}, {6: -1.0, 9: -2.0}],
        index=4,
        cached_tokens=16,
    )


def test_special_tokens_and_the_stop_are_shown_on_demand() -> None:
    end = finish(FinishReason.STOP_SEQUENCE)
    items: list[Token | Finish] = [token(5, "a"), token(7, "<box>", is_special=True)]
    items += [token(6, "STOP"), end]
    assert reader(stop=["STOP"]).read(items).text == "a"
    shown = GenerationConfig(skip_special_tokens=False, include_stop_str_in_output=True)
    assert reader(stop=["STOP"], config=shown).read(items).text == "a<box>STOP"


def test_an_answer_that_ends_without_a_mark_keeps_its_last_token() -> None:
    items: list[Token | Finish] = [token(5, "a"), finish(FinishReason.EOS_TOKEN)]
    whole = reader().read(items)
    assert (whole.text, whole.token_ids, whole.finish_reason) == ("a", [5], "stop")


def test_pieces_add_up_to_the_whole() -> None:
    end = finish(FinishReason.STOP_SEQUENCE)
    items: list[Token | Finish] = [token(5, "a x"), token(6, "STO"), token(7, "P"), end]
    one = reader(stop=["STOP"])
    pieces = [one.read(items[:1]), one.read(items[1:2]), one.read(items[2:])]
    assert [piece.text for piece in pieces] == ["a x", "", ""]
    assert [piece.finish_reason for piece in pieces] == [None, None, "stop"]
    assert joined(pieces) == reader(stop=["STOP"]).read(items)


def test_what_a_grammar_forced_has_the_logits_of_certainty() -> None:
    import torch

    chosen = token(1, "a", logits=torch.tensor([0.5, 2.0, -1.0]).numpy().tobytes())
    items: list[Token | Finish] = [chosen, token(2, "b"), finish(FinishReason.LENGTH)]
    response = reader(wants_logits=True).read(items)
    assert response.finish_reason == "length"
    assert response.logits is not None
    never = float("-inf")
    assert response.logits.tolist() == [[0.5, 2.0, -1.0], [never, never, 0.0]]
    assert "logits" not in repr(response).replace("logprobs", "")
