"""TGI's guide to vision-language models, by Hugging Face's Python client.

inlay serve
python examples/tgi_huggingface_hub.py [URL]
"""

import base64
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import InferenceClient

SHAPES = Path(__file__).parent / "shapes.png"
IMAGE = f"data:image/png;base64,{base64.b64encode(SHAPES.read_bytes()).decode()}"
"""The address of a picture would do as well."""

SCENE = {
    "type": "object",
    "properties": {
        "objects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"color": {"type": "string"}, "shape": {"type": "string"}},
                "required": ["color", "shape"],
            },
        },
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["objects", "count"],
}


def markdown_image(client: InferenceClient) -> str:
    """A picture as markdown in the prompt; the answer token by token."""
    prompt = f"![]({IMAGE})What is this a picture of?\n\n"
    return "|".join(client.text_generation(prompt, max_new_tokens=16, stream=True))


def chat(client: InferenceClient) -> str | None:
    """A picture as a part of a message."""
    parts = [
        {"type": "text", "text": "What is this a picture of?"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    answer = client.chat_completion(
        messages=[{"role": "user", "content": parts}], seed=42, max_tokens=100, temperature=0
    )
    return answer.choices[0].message.content


def guided_json(client: InferenceClient) -> str:
    """An answer about a picture that satisfies a JSON schema."""
    grammar: Any = {"type": "json", "value": SCENE}
    prompt = f"![]({IMAGE})Extract the objects as JSON.\n\n"
    return client.text_generation(prompt, max_new_tokens=100, seed=42, grammar=grammar)


def guided_regex(client: InferenceClient) -> str:
    """An answer that matches a regular expression."""
    grammar: Any = {"type": "regex", "value": "[0-9]{1,2}"}
    prompt = f"![]({IMAGE})How many squares are there?\n\n"
    return client.text_generation(prompt, max_new_tokens=20, seed=42, grammar=grammar)


def main() -> None:
    """All of them."""
    client = InferenceClient(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
    for example in (markdown_image, chat, guided_json, guided_regex):
        print(example(client))


if __name__ == "__main__":
    main()
