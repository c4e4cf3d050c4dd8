"""`pipeline` on the embedded model: what its answers hold, and what it promises."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from harness import EXAMPLES, Server, data_uri, post, wait_until
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay import (
    EngineConfig,
    EngineError,
    GenerationConfig,
    Pipeline,
    cli,
    load_image,
    pipeline,
)
from inlay.model_folder import EMBEDDED_MODEL
from inlay.offline.engine import OfflineEngine
from inlay.offline.engine_options import EngineOptions
from inlay.terminal import in_process

SHAPES = EXAMPLES / "shapes.png"
QUESTION = "What is this a picture of?"
ANSWER = "a red circle and two blue squares"
ENDLESS: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "endless", "schema": {"type": "string", "minLength": 3000}},
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_answers_equal_those_of_the_server(pipe: Pipeline, server: Server, seed: int) -> None:
    config = GenerationConfig(temperature=1.5, top_k=50, random_seed=seed, max_new_tokens=40)
    image = {"type": "image_url", "image_url": {"url": data_uri(SHAPES)}}
    text = {"type": "text", "text": "Tell me a story."}
    body = {
        "messages": [{"role": "user", "content": [image, text]}],
        "temperature": 1.5,
        "top_k": 50,
        "seed": seed,
        "max_tokens": 40,
    }
    status, answer, _ = post(f"{server.url}/v1/chat/completions", body)
    assert status == 200
    ours = pipe(("Tell me a story.", SHAPES), gen_config=config)
    assert ours.text == answer["choices"][0]["message"]["content"]
    assert ours.input_token_len == answer["usage"]["prompt_tokens"]


def test_logits_equal_those_of_transformers(pipe: Pipeline) -> None:
    config = GenerationConfig(output_logits="generation", repetition_penalty=1.3)
    prompt = ("<image>What is this a picture of?\n\n".replace("<image>", ""), SHAPES)
    response = pipe(prompt, gen_config=config, do_preprocess=False)
    processor = AutoProcessor.from_pretrained(EMBEDDED_MODEL)
    model = AutoModelForImageTextToText.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    inputs = processor(text=f"<image>{prompt[0]}", images=Image.open(SHAPES), return_tensors="pt")
    answer = torch.tensor([response.token_ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode():
        expected = model(**inputs).logits[0, -answer.shape[1] - 1 : -1]
    assert response.logits is not None
    torch.testing.assert_close(response.logits, expected, rtol=1e-3, atol=1e-3)


def test_logits_stream_and_keep_their_places(pipe: Pipeline) -> None:
    config = GenerationConfig(output_logits="generation", logprobs=1)
    whole = pipe((QUESTION, SHAPES), gen_config=config)
    pieces = list(pipe.stream_infer((QUESTION, SHAPES), gen_config=config))
    found = [piece.logits for piece in pieces if piece.logits is not None]
    assert whole.logits is not None
    torch.testing.assert_close(torch.cat(found), whole.logits)
    assert whole.logprobs is not None
    likeliest = whole.logits.log_softmax(-1).max(-1).values.tolist()
    assert [max(found.values()) for found in whole.logprobs] == pytest.approx(likeliest, abs=1e-4)


def test_a_grammar_and_logits(pipe: Pipeline) -> None:
    schema = json.loads((EXAMPLES / "scene-grammar.json").read_text())["value"]
    held = {"type": "json_schema", "json_schema": {"name": "scene", "schema": schema}}
    config = GenerationConfig(response_format=held, output_logits="generation")
    response = pipe(("Extract the objects as JSON.", SHAPES), gen_config=config)
    assert json.loads(response.text)["count"] == 3
    assert response.logits is not None
    assert len(response.logits) == len(response.token_ids)


def test_a_turn_computes_only_what_is_new(pipe: Pipeline) -> None:
    session = pipe.session()
    block_size = pipe.engine.facts.block_size
    num_known = 0
    for question in (QUESTION, "How many squares are there?", "What color is the circle?"):
        pipe.chat((question, SHAPES) if not session.history else question, session=session)
        response = session.response
        assert response is not None
        assert response.cached_tokens >= num_known // block_size * block_size
        num_known = response.input_token_len + response.generate_token_len
    assert response is not None
    assert response.cached_tokens >= block_size
    assert repr(session) == "Session(3 turns)"


def test_a_stop_word_ends_the_answer_in_front_of_it(pipe: Pipeline) -> None:
    config = GenerationConfig(stop_words=[" two"])
    response = pipe((QUESTION, SHAPES), gen_config=config)
    assert (response.text, response.finish_reason) == ("a red circle and", "stop")
    pieces = [piece.text for piece in pipe.stream_infer((QUESTION, SHAPES), gen_config=config)]
    assert "".join(pieces) == response.text


def test_each_prompt_may_have_a_config_of_its_own(pipe: Pipeline) -> None:
    configs = [GenerationConfig(max_new_tokens=count) for count in (1, 3)]
    prompts = [(QUESTION, SHAPES)] * 2
    assert [r.generate_token_len for r in pipe(prompts, gen_config=configs)] == [1, 3]
    with pytest.raises(ValueError, match="one for each of 2 prompts. Given: 1"):
        pipe(prompts, gen_config=configs[:1])


def test_streams_run_side_by_side(pipe: Pipeline) -> None:
    texts = {0: "", 1: ""}
    for piece in pipe.stream_infer(
        [(QUESTION, SHAPES), ("What color is it?", EXAMPLES / "star.jpg")]
    ):
        texts[piece.index] += piece.text
    assert texts == {0: ANSWER, 1: "yellow"}
    nothing: list[str] = []
    assert list(pipe.stream_infer(nothing)) == []
    assert pipe(nothing) == []


def test_a_stream_that_is_left_stops(pipe: Pipeline) -> None:
    session = pipe.session()
    config = GenerationConfig(response_format=ENDLESS, max_new_tokens=3000)
    pieces = pipe.chat("Tell me a story.", session, config, stream_response=True)
    next(pieces)
    pieces.close()
    assert session.history == []
    wait_until(lambda: pipe.engine.service.generation.stats.num_running == 0)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"max_new_tokens": -1}, "`max_new_tokens` must be strictly positive"),
        ({"top_p": 2.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"min_p": 2}, "`min_p` must be >= 0.0 and <= 1.0. Given: 2"),
        ({"logprobs": 50}, "`logprobs` must be >= 0 and <= 20. Given: 50"),
        ({"random_seed": -1}, "`random_seed` must be >= 0"),
    ],
)
def test_what_is_out_of_range_is_said(pipe: Pipeline, config: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pipe("Hello!", gen_config=GenerationConfig(**config))


def test_a_prompt_that_cannot_be_served_is_named(pipe: Pipeline) -> None:
    prompts: list[str | tuple[Any, Any]]
    prompts = ["Hello!", ("What is it?", "data:image/png;base64,AAAA")]
    with pytest.raises(ValueError, match="request 1: invalid image"):
        pipe(prompts)
    assert pipe((QUESTION, load_image(SHAPES))).text == ANSWER


def test_threads_share_a_pipeline(pipe: Pipeline) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(pipe((QUESTION, SHAPES)).text))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [ANSWER] * 4


@pytest.fixture
def here(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal's commands find the engine of `pipe` instead of starting one."""

    def start(options: EngineOptions) -> OfflineEngine:
        if options.model is not None:
            raise EngineError(f"there is no folder {options.model}")
        return pipe.engine

    monkeypatch.setattr(in_process, "OfflineEngine", start)
    monkeypatch.setattr(pipe.engine, "close", lambda: None)


@pytest.mark.usefixtures("here")
def test_ask_runs_the_model_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", str(SHAPES), QUESTION, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "answer": ANSWER,
        "finish_reason": "stop",
        "prompt_tokens": 22,
        "answer_tokens": 8,
    }
    assert cli.main(["ask", "x", "--model", "./nowhere"]) == 1
    assert capsys.readouterr() == ("", "inlay ask: there is no folder ./nowhere\n")
    assert cli.main(["ask", "x", "--max-tokens", "100000"]) == 1
    assert "`inputs` tokens + `max_tokens` must be <=" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_chat_runs_the_model_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter([f"{SHAPES} {QUESTION}", "How many squares are there?"])
    monkeypatch.setattr("builtins.input", _typed(lines.__next__))
    assert cli.main(["chat"]) == 0
    shown = capsys.readouterr().out
    assert "inlay/embedded is here" in shown
    assert f"{ANSWER}\n2\n" in shown


def _typed(next_line: Callable[[], str]) -> Callable[[str], str]:
    def read(prompt: str) -> str:
        try:
            return next_line()
        except StopIteration:
            raise EOFError from None

    return read


def test_a_window_wider_than_the_model_is_refused() -> None:
    with pytest.raises(EngineError, match="`session_len` must be <= 4096.* Given: 8192"):
        pipeline(backend_config=EngineConfig(session_len=8192))
