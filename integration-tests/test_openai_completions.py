"""OpenAI's client on `/v1/completions` and `/v1/models`, sync and async."""

import asyncio

import openai
import pytest
from harness import EXAMPLES, Server, markdown

PROMPT = markdown(EXAMPLES / "shapes.png") + "What is this a picture of?\n\n"
ANSWER = "a red circle and two blue squares"
MODEL = "any-name"


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0)


def test_plain(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=30, temperature=0)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_several_prompts_with_logprobs(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=[PROMPT, "Hello"], max_tokens=5, temperature=0, logprobs=2, echo=True
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[1].text.startswith("Hello")
    logprobs = answer.choices[1].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert len(logprobs.tokens) == len(logprobs.token_logprobs)
    # As evaluations read them: what stands in the prompt, and what the model would have said.
    assert logprobs.top_logprobs is not None
    first, *others = logprobs.top_logprobs
    assert first is None
    for token, value, top in zip(
        logprobs.tokens[1:], logprobs.token_logprobs[1:], others, strict=True
    ):
        assert top[token] == value <= max(top.values())
        assert 2 <= len(top) <= 3


def test_n_with_a_seed_is_repeatable(client: openai.OpenAI) -> None:
    def ask() -> list[str]:
        answer = client.completions.create(
            model=MODEL, prompt="Hello", max_tokens=8, temperature=2.0, n=2, seed=5
        )
        return [choice.text for choice in answer.choices]

    first = ask()
    assert ask() == first
    assert len(set(first)) == 2


def test_a_stop_sequence_is_left_out(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=30, temperature=0, stop=" two"
    )
    assert answer.choices[0].text == "a red circle and"
    assert answer.choices[0].finish_reason == "stop"


def test_a_bias_forbids_a_token(client: openai.OpenAI, server: Server) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=1, temperature=0, logprobs=1
    )
    plain = answer.choices[0].text
    ids = client.post("../tokenize", body={"inputs": plain}, cast_to=list[dict[str, object]])
    forbidden = {str(span["id"]): -100 for span in ids}
    other = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=1, temperature=0, logit_bias=forbidden
    )
    assert other.choices[0].text != plain


def test_stream_with_usage(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model=MODEL,
        prompt=PROMPT,
        max_tokens=30,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    *events, last = list(stream)
    assert len(events) > 3
    assert "".join(event.choices[0].text for event in events) == ANSWER
    assert events[-1].choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 3


def test_a_refusal_is_the_right_exception(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="top_p"):
        client.completions.create(model=MODEL, prompt="a", top_p=2)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")


def test_async(server: Server) -> None:
    async def scenario() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="-") as client:
            plain = await client.completions.create(
                model=MODEL, prompt=PROMPT, max_tokens=30, temperature=0
            )
            stream = await client.completions.create(
                model=MODEL, prompt=PROMPT, max_tokens=30, temperature=0, stream=True
            )
            pieces = [event.choices[0].text async for event in stream]
        return plain.choices[0].text, "".join(pieces)

    assert asyncio.run(scenario()) == (ANSWER, ANSWER)
