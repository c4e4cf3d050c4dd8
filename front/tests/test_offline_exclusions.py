"""What an answer may not hold, and how surprising a text is, beside transformers."""

from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from inlay import LLM, GenerationConfig, Pipeline, RequestRefused, SamplingParams
from inlay.model_folder import EMBEDDED_MODEL

PROMPT = "<|user|>Hello!<end_of_utterance><|assistant|>"
GREEDY = SamplingParams(temperature=0, max_tokens=40)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForImageTextToText.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def pipe(llm: LLM) -> Pipeline:
    """A pipeline on the engine of the other tests."""
    pipe = Pipeline.__new__(Pipeline)
    pipe.engine = llm._engine
    pipe._stop_words, pipe._fallback = (), None
    return pipe


def own_answer(model: Any, prompt_ids: list[int], **controls: Any) -> list[int]:
    """The tokens that `generate` of transformers answers."""
    with torch.inference_mode():
        output = model.generate(
            torch.tensor([prompt_ids]), do_sample=False, max_new_tokens=40, **controls
        )
    tokens: list[int] = output[0, len(prompt_ids) :].tolist()
    return tokens


def answer(llm: LLM, params: SamplingParams) -> tuple[list[int], list[int]]:
    """Prompt and answer, in token ids."""
    (output,) = llm.generate(PROMPT, params, use_tqdm=False)
    return output.prompt_token_ids, list(output.outputs[0].token_ids)


def test_bad_words_do_not_come(llm: LLM, model: Any) -> None:
    _, free = answer(llm, GREEDY)
    text = llm._engine.tokenizer.decode(free)
    word = text.split()[2]
    prompt_ids, tokens = answer(llm, GREEDY.clone(bad_words=[word]))
    assert word in text and tokens != free
    runs = {
        tuple(llm._engine.tokenizer.encode(spelling, add_special_tokens=False))
        for spelling in (word, f" {word}")
    }
    bad_words_ids = [list(run) for run in runs]
    assert tokens == own_answer(model, prompt_ids, bad_words_ids=bad_words_ids)


def test_an_answer_has_the_length_that_is_asked_for(llm: LLM, model: Any) -> None:
    prompt_ids, free = answer(llm, GREEDY)
    num_tokens = len(free) + 6
    _, tokens = answer(llm, GREEDY.clone(min_tokens=num_tokens))
    assert len(tokens) >= num_tokens > len(free)
    assert tokens == own_answer(model, prompt_ids, min_new_tokens=num_tokens)
    _, whole = answer(llm, GREEDY.clone(ignore_eos=True))
    assert len(whole) == 40
    assert whole == own_answer(model, prompt_ids, min_new_tokens=40)


def test_stop_tokens_wait_too(llm: LLM) -> None:
    _, free = answer(llm, GREEDY)
    params = GREEDY.clone(stop_token_ids=[free[1]], min_tokens=4)
    _, tokens = answer(llm, params)
    assert free[1] not in tokens[:4] and len(tokens) > 2


def test_an_answer_of_allowed_tokens(llm: LLM, model: Any) -> None:
    encode = llm._engine.tokenizer.encode
    allowed = encode("red blue star circle", add_special_tokens=False)
    prompt_ids, tokens = answer(llm, GREEDY.clone(allowed_token_ids=allowed))
    assert len(tokens) == 40 and set(tokens) <= set(allowed)
    wanted = own_answer(model, prompt_ids, prefix_allowed_tokens_fn=lambda *_: allowed)
    assert tokens == wanted
    with pytest.raises(RequestRefused, match="`allowed_token_ids` must be >= 0 and < 704"):
        answer(llm, GREEDY.clone(allowed_token_ids=[704]))


def test_the_end_of_a_long_prompt_may_be_kept(llm: LLM) -> None:
    params = GREEDY.clone(truncate_prompt_tokens=3)
    whole, _ = answer(llm, GREEDY)
    kept, _ = answer(llm, params)
    assert kept == whole[-3:] and len(whole) > 3
    picture = {"prompt": PROMPT, "multi_modal_data": {"image": Image.new("RGB", (32, 32))}}
    with pytest.raises(RequestRefused, match="a prompt with images cannot be truncated to 3"):
        llm.generate(picture, params, use_tqdm=False)


def test_only_likely_tokens_are_drawn(llm: LLM) -> None:
    likeliest = llm.generate(PROMPT, GREEDY, use_tqdm=False)[0].outputs[0].token_ids
    drawn = SamplingParams(temperature=3.0, n=8, seed=1, max_tokens=40)
    (strict,) = llm.generate(PROMPT, drawn.clone(min_p=1.0), use_tqdm=False)
    (free,) = llm.generate(PROMPT, drawn, use_tqdm=False)
    assert {output.token_ids for output in strict.outputs} == {likeliest}
    assert len({output.token_ids for output in free.outputs}) > 1


def test_a_pipeline_has_them_too(llm: LLM, pipe: Pipeline) -> None:
    free = pipe("Hello!", gen_config=GenerationConfig(max_new_tokens=40))
    config = GenerationConfig(max_new_tokens=40, bad_token_ids=[free.token_ids[3]])
    assert free.token_ids[3] not in pipe("Hello!", gen_config=config).token_ids
    config = GenerationConfig(max_new_tokens=40, stop_token_ids=[free.token_ids[3]])
    stopped = pipe("Hello!", gen_config=config)
    assert stopped.token_ids == free.token_ids[:3] and stopped.finish_reason == "stop"
    assert free.text.startswith(stopped.text)
    config = GenerationConfig(max_new_tokens=40, ignore_eos=True)
    assert len(pipe("Hello!", gen_config=config).token_ids) == 40


def test_tokens_that_are_not_there_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(RequestRefused, match="`bad_token_ids` must be >= 0 and < 704. Given: 704"):
        pipe("Hello!", gen_config=GenerationConfig(bad_token_ids=[704]))


def test_texts_surprise_as_they_do_transformers(llm: LLM, model: Any, pipe: Pipeline) -> None:
    encode = llm._engine.tokenizer.encode
    texts = [encode(text) for text in ("a red circle and two blue squares", "two colorless green")]
    with torch.inference_mode():
        wanted = [
            float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss) for ids in texts
        ]
    assert pipe.get_ppl(texts) == pytest.approx(wanted, rel=1e-4)
    assert pipe.get_ppl(texts[0]) == pytest.approx(wanted[:1], rel=1e-4)


def test_the_prompt_is_rated_as_by_transformers(llm: LLM, model: Any) -> None:
    params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=4)
    text = "a red circle and two blue squares, and a red circle"
    (output,) = llm.generate(text, params, use_tqdm=False)
    ids = output.prompt_token_ids
    with torch.inference_mode():
        wanted = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    assert output.prompt_logprobs is not None and output.prompt_logprobs[0] is None
    for row, token_id, entries in zip(wanted, ids[1:], output.prompt_logprobs[1:], strict=True):
        assert entries is not None and next(iter(entries)) == token_id
        assert set(entries) == {token_id, *row.topk(4).indices.tolist()}
        found = [entry.logprob for entry in entries.values()]
        assert found == pytest.approx([float(row[one]) for one in entries], abs=1e-4)


@pytest.mark.parametrize("given", [[5], [[5]], [5, [6, 7]]])
def test_a_text_to_be_scored_has_two_tokens(pipe: Pipeline, given: Any) -> None:
    with pytest.raises(ValueError, match="`input_ids`"):
        pipe.get_ppl(given)
