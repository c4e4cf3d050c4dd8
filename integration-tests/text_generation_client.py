"""Run by the interpreter of `.venv-tgi-client`: calls the server, prints what came back as JSON.

Arguments: the server's URL and a file that holds the prompt.
"""

import asyncio
import json
import sys
from pathlib import Path

from text_generation import AsyncClient, Client  # type: ignore[import-not-found]
from text_generation.errors import ValidationError  # type: ignore[import-not-found]
from text_generation.types import (  # type: ignore[import-not-found]
    Grammar,
    GrammarType,
    Message,
    Tool,
)

SAMPLING = {
    "do_sample": True,
    "temperature": 0.5,
    "top_k": 10,
    "top_p": 0.9,
    "typical_p": 0.9,
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.1,
    "truncate": 5,
    "watermark": True,
    "return_full_text": True,
    "stop_sequences": ["test"],
    "max_new_tokens": 10,
    "seed": 0,
}
"""What TGI's own integration tests send with every parameter."""


HELLO = [Message(role="user", content="Hello")]
CHAT = {"max_tokens": 60, "temperature": 0.0, "seed": 3}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
TOOL = Tool(
    type="function",
    function={
        "name": "count",
        "parameters": {
            "type": "object",
            "properties": {"number": DIGIT},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
)


async def in_async(url: str, prompt: str) -> dict[str, object]:
    """The same calls through the async client."""
    client = AsyncClient(url, timeout=60)
    response = await client.generate(prompt, max_new_tokens=30)
    events = [event async for event in client.generate_stream(prompt, max_new_tokens=30)]
    sampled = await client.generate("Hello there, world", **SAMPLING)
    return {
        "async_text": response.generated_text,
        "async_stream": "".join(e.token.text for e in events if not e.token.special),
        "async_sampled": sampled.generated_text,
        "async_chat": (await client.chat(HELLO, **CHAT)).choices[0].message.content,
    }


def refusal_of(client: Client) -> str:
    """The words of an error, as the client raises it."""
    try:
        client.generate("Hello", max_new_tokens=10_000_000)
    except ValidationError as error:
        return str(error)
    return ""


def constrained(client: Client, prompt: str) -> dict[str, str]:
    """Answers held to a grammar of each kind."""
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    regex = Grammar(type=GrammarType.Regex, value="[0-9]{3}")
    json_schema = Grammar(type=GrammarType.Json, value=schema)
    return {
        "regex": client.generate(prompt, max_new_tokens=10, grammar=regex).generated_text,
        "json": client.generate(prompt, max_new_tokens=30, grammar=json_schema).generated_text,
    }


def chats(client: Client) -> dict[str, object]:
    """Answers of `chat()`; its streams know neither the deltas of TGI 3 nor those of OpenAI."""
    (called,) = client.chat(HELLO, tools=[TOOL], tool_choice="count", **CHAT).choices
    (call,) = called.message.tool_calls
    return {
        "chat": client.chat(HELLO, **CHAT).choices[0].message.content,
        "called": call["function"]["name"],
        "arguments": call["function"]["arguments"],
    }


def main(url: str, prompt: str) -> dict[str, object]:
    """Every call that the client has for generation."""
    client = Client(url, timeout=60)
    response = client.generate(prompt, max_new_tokens=30, decoder_input_details=True)
    events = list(client.generate_stream(prompt, max_new_tokens=30))
    sampled = client.generate("Hello there, world", **SAMPLING)
    best = client.generate("Hello", do_sample=True, best_of=2, max_new_tokens=5)
    likeliest = client.generate("Hello", max_new_tokens=4, top_n_tokens=3)
    sampled_events = list(client.generate_stream("Hello there, world", **SAMPLING))
    return {
        "text": response.generated_text,
        "finish_reason": response.details.finish_reason.value,
        "num_prefill": len(response.details.prefill),
        "first_prefill_logprob": response.details.prefill[0].logprob,
        "stream": "".join(event.token.text for event in events if not event.token.special),
        "stream_text": events[-1].generated_text,
        "sampled": sampled.generated_text,
        "sampled_stream": sampled_events[-1].generated_text,
        "seed": sampled.details.seed,
        "num_others": len(best.details.best_of_sequences),
        "num_top_tokens": [len(tops) for tops in likeliest.details.top_tokens],
        "refusal": refusal_of(client),
        **constrained(client, prompt),
        **chats(client),
        **asyncio.run(in_async(url, prompt)),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]).read_text())))
