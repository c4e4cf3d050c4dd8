"""`huggingface_hub.InferenceClient`, sync and async, every way it calls `text_generation`."""

import asyncio
import json
from typing import Any

import pytest
from harness import EXAMPLES, Server, data_uri
from huggingface_hub import (
    AsyncInferenceClient,
    InferenceClient,
    TextGenerationInputGrammarType,
)
from huggingface_hub.errors import ValidationError

PROMPT = f"![]({data_uri(EXAMPLES / 'shapes.png')})What is this a picture of?\n\n"
ANSWER = "a red circle and two blue squares"
END = "<end_of_utterance>"
"""The client's plain stream shows special tokens too; TGI sends them, marked as special."""
GRAMMAR = TextGenerationInputGrammarType(
    type="json",
    value={"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]},
)


@pytest.fixture
def client(server: Server) -> InferenceClient:
    return InferenceClient(server.url)


def test_plain(client: InferenceClient) -> None:
    answer = client.text_generation(PROMPT, max_new_tokens=30, return_full_text=False)
    assert answer == ANSWER


def test_details(client: InferenceClient) -> None:
    output = client.text_generation(
        PROMPT,
        max_new_tokens=30,
        details=True,
        decoder_input_details=True,
        return_full_text=False,
        top_n_tokens=2,
    )
    assert output.generated_text == ANSWER
    assert output.details is not None
    assert output.details.finish_reason == "eos_token"
    assert output.details.generated_tokens == len(output.details.tokens)
    assert output.details.prefill[0].logprob is None
    assert all(token.logprob <= 0 for token in output.details.prefill[1:])
    assert output.details.top_tokens is not None
    assert all(len(tops) == 2 for tops in output.details.top_tokens)


def test_stream(client: InferenceClient) -> None:
    pieces = list(client.text_generation(PROMPT, max_new_tokens=30, stream=True))
    assert len(pieces) > 3
    assert "".join(pieces) == ANSWER + END


def test_stream_with_details(client: InferenceClient) -> None:
    events = list(
        client.text_generation(
            PROMPT, max_new_tokens=30, stream=True, details=True, return_full_text=False
        )
    )
    assert events[-1].generated_text == ANSWER
    assert events[-1].details is not None
    assert events[-1].details.finish_reason == "eos_token"


def test_grammar(client: InferenceClient) -> None:
    answer = client.text_generation(
        PROMPT, max_new_tokens=40, grammar=GRAMMAR, return_full_text=False
    )
    assert isinstance(json.loads(answer)["count"], int)


def test_a_seed_makes_sampling_repeatable(client: InferenceClient) -> None:
    def ask() -> str:
        return client.text_generation(
            PROMPT,
            max_new_tokens=20,
            do_sample=True,
            temperature=3.0,
            seed=7,
            return_full_text=False,
        )

    assert ask() == ask()


def test_a_bad_parameter_is_an_error_in_words(client: InferenceClient) -> None:
    with pytest.raises(ValidationError, match="temperature"):
        client.text_generation(PROMPT, temperature=-1.0)
    with pytest.raises(ValidationError, match="temperature"):
        list(client.text_generation(PROMPT, temperature=-1.0, stream=True))


def test_async(server: Server) -> None:
    async def scenario() -> tuple[str, list[str], str]:
        client = AsyncInferenceClient(server.url)
        plain = await client.text_generation(PROMPT, max_new_tokens=30, return_full_text=False)
        stream = await client.text_generation(PROMPT, max_new_tokens=30, stream=True)
        pieces = [piece async for piece in stream]
        detailed = await client.text_generation(
            PROMPT, max_new_tokens=40, grammar=GRAMMAR, details=True, return_full_text=False
        )
        await client.close()
        return plain, pieces, detailed.generated_text

    plain, pieces, constrained = asyncio.run(scenario())
    assert plain == ANSWER
    assert "".join(pieces) == ANSWER + END
    assert isinstance(json.loads(constrained)["count"], int)


SAMPLING: dict[str, Any] = {
    "temperature": 0.7,
    "top_k": 20,
    "top_p": 0.9,
    "typical_p": 0.95,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0.1,
    "watermark": True,
    "truncate": 100,
    "max_new_tokens": 8,
    "seed": 3,
}


def test_every_parameter_is_taken(client: InferenceClient) -> None:
    first = client.text_generation("Hello", details=True, top_n_tokens=3, **SAMPLING)
    second = client.text_generation("Hello", details=True, top_n_tokens=3, **SAMPLING)
    assert first.generated_text == second.generated_text
    assert first.details is not None
    assert first.details.seed == 3


def test_the_best_of_several_comes_with_the_others(client: InferenceClient) -> None:
    output = client.text_generation(
        "Hello", do_sample=True, best_of=2, details=True, max_new_tokens=5
    )
    assert output.details is not None
    assert output.details.best_of_sequences is not None
    (other,) = output.details.best_of_sequences
    assert other.generated_tokens <= 5


def test_a_stop_sequence_ends_the_answer(client: InferenceClient) -> None:
    output = client.text_generation(PROMPT, max_new_tokens=30, stop=["circle"], details=True)
    assert output.generated_text == "a red circle"
    assert output.details is not None
    assert output.details.finish_reason == "stop_sequence"


def test_the_prompt_is_given_back_when_asked_for(client: InferenceClient) -> None:
    answer = client.text_generation("Hello", max_new_tokens=3, return_full_text=True)
    assert answer.startswith("Hello")


def test_async_details(server: Server) -> None:
    async def scenario() -> tuple[str | None, str | None]:
        client = AsyncInferenceClient(server.url)
        stream = await client.text_generation(PROMPT, max_new_tokens=30, stream=True, details=True)
        *_, last = [event async for event in stream]
        with pytest.raises(ValidationError, match="top_p"):
            await client.text_generation(PROMPT, top_p=1.5)
        await client.close()
        assert last.details is not None
        return last.generated_text, last.details.finish_reason

    assert asyncio.run(scenario()) == (ANSWER, "eos_token")


def test_the_endpoint_describes_itself(server: Server) -> None:
    client = InferenceClient(server.url, provider="hf-inference")
    info = client.get_endpoint_info()
    assert info["model_pipeline_tag"] == "image-text-to-text"
    assert client.health_check()
