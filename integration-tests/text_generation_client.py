"""Run by the interpreter of `.venv-tgi-client`: calls the server, prints what came back as JSON.

Arguments: the server's URL and a file that holds the prompt.
"""

import asyncio
import json
import sys
from pathlib import Path

from text_generation import AsyncClient, Client  # type: ignore[import-not-found]
from text_generation.errors import ValidationError  # type: ignore[import-not-found]


async def in_async(url: str, prompt: str) -> dict[str, object]:
    """The same calls through the async client."""
    client = AsyncClient(url, timeout=60)
    response = await client.generate(prompt, max_new_tokens=30)
    events = [event async for event in client.generate_stream(prompt, max_new_tokens=30)]
    return {
        "async_text": response.generated_text,
        "async_stream": "".join(e.token.text for e in events if not e.token.special),
    }


def main(url: str, prompt: str) -> dict[str, object]:
    """Every call that the client has for generation."""
    client = Client(url, timeout=60)
    response = client.generate(prompt, max_new_tokens=30, decoder_input_details=True)
    events = list(client.generate_stream(prompt, max_new_tokens=30))
    try:
        client.generate(prompt, max_new_tokens=10_000_000)
        refusal = ""
    except ValidationError as error:
        refusal = str(error)
    return {
        "text": response.generated_text,
        "finish_reason": response.details.finish_reason.value,
        "num_prefill": len(response.details.prefill),
        "stream": "".join(event.token.text for event in events if not event.token.special),
        "stream_text": events[-1].generated_text,
        "refusal": refusal,
        **asyncio.run(in_async(url, prompt)),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]).read_text())))
