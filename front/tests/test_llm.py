"""`LLM` on the embedded model: every form of a prompt, every field of an output."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inlay import LLM, RequestRefused, SamplingParams, StructuredOutputsParams

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
GREEDY = SamplingParams(temperature=0, max_tokens=64)
QUESTION = "What is this a picture of?\n\n"
SHAPES = "a red circle and two blue squares"


def picture(name: str = "shapes.png") -> Image.Image:
    return Image.open(EXAMPLES / name)


def text_of(llm: LLM, prompt: Any, params: SamplingParams = GREEDY) -> str:
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    return output.outputs[0].text


@pytest.mark.parametrize(
    "prompt",
    [
        f"<image>{QUESTION}",
        QUESTION,
        f"<|user|><image>{QUESTION.strip()}<end_of_utterance><|assistant|>",
    ],
    ids=["marked", "without a mark", "in the chat's own form"],
)
def test_a_picture_stands_at_its_mark_or_in_front(llm: LLM, prompt: str) -> None:
    data = {"image": picture()}
    assert text_of(llm, {"prompt": prompt, "multi_modal_data": data}) == SHAPES


def test_an_array_is_a_picture(llm: LLM) -> None:
    data = {"image": np.asarray(picture().convert("RGB"))}
    assert text_of(llm, {"prompt": QUESTION, "multi_modal_data": data}) == SHAPES


def test_pictures_stand_in_their_order(llm: LLM) -> None:
    data = {"image": [picture("star.jpg"), picture()]}
    prompt = {"prompt": "<image><image>Describe each picture.\n\n", "multi_modal_data": data}
    assert text_of(llm, prompt) == f"first, a yellow star; second, {SHAPES}"


def test_token_ids_are_a_prompt_too(llm: LLM) -> None:
    (by_text,) = llm.generate("Hello!\n\n", GREEDY, use_tqdm=False)
    ids = {"prompt_token_ids": by_text.prompt_token_ids}
    (by_ids,) = llm.generate(ids, GREEDY, use_tqdm=False)
    assert by_ids.outputs[0].token_ids == by_text.outputs[0].token_ids
    assert by_text.prompt == "Hello!\n\n" and by_ids.prompt is None


def test_outputs_come_in_the_order_of_the_prompts(llm: LLM) -> None:
    names = ["four.webp", "star.jpg", "shapes.png"] * 3
    question = "How many objects are there?\n\n"
    prompts = [{"prompt": question, "multi_modal_data": {"image": picture(n)}} for n in names]
    outputs = llm.generate(prompts, GREEDY, use_tqdm=False)
    assert [output.outputs[0].text for output in outputs] == ["4", "1", "3"] * 3
    ids = [int(output.request_id) for output in outputs]
    assert ids == list(range(ids[0], ids[0] + 9)) and all(o.finished for o in outputs)


def test_more_prompts_than_run_at_a_time(llm: LLM) -> None:
    outputs = llm.generate(["Hello!\n\n"] * 500, SamplingParams(max_tokens=2), use_tqdm=False)
    assert [len(output.outputs[0].token_ids) for output in outputs] == [2] * 500


def test_each_prompt_may_have_its_own_parameters(llm: LLM) -> None:
    params = [SamplingParams(temperature=0, max_tokens=n) for n in (1, 3)]
    outputs = llm.generate(["Hello!\n\n"] * 2, params, use_tqdm=False)
    assert [len(output.outputs[0].token_ids) for output in outputs] == [1, 3]
    with pytest.raises(ValueError, match="one for each of the 1 prompts. Given: 2"):
        llm.generate(["Hello!"], params)


def test_an_answer_says_why_it_ended(llm: LLM) -> None:
    (whole,) = llm.generate("Hello!\n\n", GREEDY, use_tqdm=False)[0].outputs
    assert (whole.finish_reason, whole.stop_reason) == ("stop", None)
    (short,) = llm.generate("Hello!\n\n", GREEDY.clone(max_tokens=2), use_tqdm=False)[0].outputs
    assert (short.finish_reason, short.stop_reason) == ("length", None)


def test_a_stop_is_cut_off_unless_it_is_wanted(llm: LLM) -> None:
    params = GREEDY.clone(stop=["zzz", " of"])
    (cut,) = llm.generate("Hello!\n\n", params, use_tqdm=False)[0].outputs
    assert cut.text == "Hello! Show me a picture" and cut.stop_reason == " of"
    kept = text_of(llm, "Hello!\n\n", params.clone(include_stop_str_in_output=True))
    assert kept == cut.text + " of"


def test_a_stop_token_ends_an_answer_and_is_not_shown(llm: LLM) -> None:
    (whole,) = llm.generate("Hello!\n\n", GREEDY, use_tqdm=False)[0].outputs
    stop_id = whole.token_ids[4]
    params = GREEDY.clone(stop_token_ids=[stop_id])
    (cut,) = llm.generate("Hello!\n\n", params, use_tqdm=False)[0].outputs
    assert cut.token_ids == whole.token_ids[:5]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", stop_id)
    assert whole.text.startswith(cut.text) and len(cut.text) < len(whole.text)


def test_special_tokens_are_shown_on_demand(llm: LLM) -> None:
    shown = text_of(llm, "Hello!\n\n", GREEDY.clone(skip_special_tokens=False))
    assert shown == text_of(llm, "Hello!\n\n") + "<end_of_utterance>"


def test_logprobs_name_the_chosen_token_first(llm: LLM) -> None:
    (output,) = llm.generate("Hello!\n\n", GREEDY.clone(logprobs=3), use_tqdm=False)
    (answer,) = output.outputs
    assert answer.logprobs is not None and len(answer.logprobs) == len(answer.token_ids)
    for token_id, entries in zip(answer.token_ids, answer.logprobs, strict=True):
        assert list(entries)[0] == token_id and len(entries) == 3
        assert [entry.rank for entry in entries.values()] == [1, 2, 3]
    pairs = zip(answer.token_ids, answer.logprobs, strict=True)
    chosen = [entries[token_id].logprob for token_id, entries in pairs]
    assert answer.cumulative_logprob == pytest.approx(sum(chosen))
    (alone,) = llm.generate("Hello!\n\n", GREEDY.clone(logprobs=0), use_tqdm=False)[0].outputs
    assert alone.logprobs is not None and all(len(entries) == 1 for entries in alone.logprobs)


def test_the_prompt_has_logprobs_but_for_its_first_token(llm: LLM) -> None:
    (output,) = llm.generate("Hello!\n\n", GREEDY.clone(prompt_logprobs=0), use_tqdm=False)
    assert output.prompt_logprobs is not None
    first, *others = output.prompt_logprobs
    assert first is None
    assert [list(entry or ()) for entry in others] == [[i] for i in output.prompt_token_ids[1:]]


def test_several_answers_differ_and_come_again(llm: LLM) -> None:
    params = SamplingParams(n=4, temperature=3.0, seed=3)
    first, again = (llm.generate("Hello!\n\n", params, use_tqdm=False)[0] for _ in range(2))
    texts = [answer.text for answer in first.outputs]
    assert texts == [answer.text for answer in again.outputs] and len(set(texts)) > 1
    assert [answer.index for answer in first.outputs] == [0, 1, 2, 3]


def test_answers_without_a_seed_are_drawn_anew(llm: LLM) -> None:
    params = SamplingParams(temperature=3.0)
    outputs = llm.generate(["Hello!\n\n"] * 4, params, use_tqdm=False)
    assert len({output.outputs[0].text for output in outputs}) > 1


def test_best_of_gives_the_likeliest(llm: LLM) -> None:
    made = SamplingParams(n=4, temperature=3.0, seed=3)
    answers = llm.generate("Hello!\n\n", made, use_tqdm=False)[0].outputs
    (best,) = llm.generate("Hello!\n\n", made.clone(n=1, best_of=4), use_tqdm=False)[0].outputs
    means = [answer.cumulative_logprob / len(answer.token_ids) for answer in answers]
    assert best.token_ids == answers[means.index(max(means))].token_ids


def test_a_prompt_that_begins_like_another_is_not_computed_twice(llm: LLM) -> None:
    data = {"image": picture("triangles.png")}
    texts = ["What is this a picture of?\n\n", "How many objects are there?\n\n"]
    prompts = [{"prompt": "<image>" + "Hello! " * 8 + t, "multi_modal_data": data} for t in texts]
    cached = [llm.generate(p, GREEDY, use_tqdm=False)[0].num_cached_tokens for p in prompts]
    assert cached[0] == 0 < cached[1]


def test_an_answer_can_be_held_to_a_schema(llm: LLM) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
        "additionalProperties": False,
    }
    prompt = {
        "prompt": "Extract the objects as JSON.\n\n",
        "multi_modal_data": {"image": picture()},
    }
    assert set(json.loads(text_of(llm, prompt, GREEDY.clone(grammar=schema)))) == {"count"}
    assert text_of(llm, prompt, GREEDY.clone(grammar=["one (1)", "two"])) in ("one (1)", "two")
    gbnf = StructuredOutputsParams(grammar='root ::= "yes" | "no"')
    assert text_of(llm, prompt, GREEDY.clone(structured_outputs=gbnf)) in ("yes", "no")


def test_what_does_not_fit_ends_where_the_model_ends(llm: LLM) -> None:
    ids = {"prompt_token_ids": [100] * 4090}
    (output,) = llm.generate(ids, SamplingParams(max_tokens=1000), use_tqdm=False)
    assert len(output.outputs[0].token_ids) <= 6


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "`inputs` cannot be empty"),
        ({"prompt": "<image><image>", "multi_modal_data": {"image": "data:,"}}, "marks 2 images"),
        ({"prompt": "a", "multi_modal_data": {"image": 7}}, "an image must be a picture"),
        ({"prompt": "a", "multi_modal_data": {"image": ["data:,"] * 17}}, "up to 16 images"),
        ({"prompt_token_ids": [704]}, "must be >= 0 and < 704. Given: 704"),
        ({"prompt": "a", "multi_modal_data": {"video": 7}}, "Given: `video`"),
        ({"prompt": "a", "cache_salt": "b"}, "Given: `cache_salt`"),
        ({"prompt": 3}, "needs `prompt`, a text"),
    ],
)
def test_what_cannot_be_answered_is_refused(llm: LLM, prompt: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        llm.generate(prompt, use_tqdm=False)


def test_a_bad_prompt_ends_the_batch_and_is_named(llm: LLM) -> None:
    with pytest.raises(RequestRefused, match="^request 1: `inputs` cannot be empty"):
        llm.generate(["Hello!\n\n", "", "Hello!\n\n"], use_tqdm=False)
    assert text_of(llm, "Hello!\n\n").startswith("Hello!")


def test_calls_work_within_a_running_loop(llm: LLM) -> None:
    async def notebook() -> str:
        return text_of(llm, "Hello!\n\n")

    assert asyncio.run(notebook()).startswith("Hello!")


def test_a_progress_bar_shows_prompts_and_tokens(
    llm: LLM, capsys: pytest.CaptureFixture[str]
) -> None:
    llm.generate(["Hello!\n\n"] * 3, GREEDY)
    shown = capsys.readouterr().err
    assert "prompts: 100%" in shown and "3/3" in shown and "tokens/s" in shown


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gpu_memory_utilization": 0.9}, "`gpu_memory_utilization`: num_gpu_blocks_override"),
        ({"wizardry": 1}, "does not take `wizardry`$"),
    ],
)
def test_arguments_without_a_meaning_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        LLM(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trust_remote_code": True}, "must be False"),
        ({"dtype": "int3"}, "invalid choice: 'int3'"),
        ({"tensor_parallel_size": 0}, "must be a whole number of at least 1. Given: 0"),
        ({"limit_mm_per_prompt": {"video": 1}}, "is for images. Given: `video`"),
    ],
)
def test_values_that_cannot_be_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LLM(**given)
