"""TGI's guide to vision-language models, by OpenAI's client.

pip install openai
inlay serve
python examples/tgi_openai.py [URL]
"""

import base64
import sys
from pathlib import Path
from typing import Any

from openai import OpenAI

SHAPES = Path(__file__).parent / "shapes.png"
IMAGE = f"data:image/png;base64,{base64.b64encode(SHAPES.read_bytes()).decode()}"
MESSAGES: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this a picture of?"},
            {"type": "image_url", "image_url": {"url": IMAGE}},
        ],
    }
]


def whole(client: OpenAI) -> str | None:
    """The answer when it is complete."""
    answer = client.chat.completions.create(model="tgi", messages=MESSAGES, temperature=0)
    return answer.choices[0].message.content


def streamed(client: OpenAI) -> str:
    """The answer token by token."""
    chunks = client.chat.completions.create(
        model="tgi", messages=MESSAGES, temperature=0, stream=True
    )
    return "|".join(chunk.choices[0].delta.content or "" for chunk in chunks).strip("|")


def main() -> None:
    """Both."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000"
    with OpenAI(base_url=f"{url}/v1", api_key="-") as client:
        print(whole(client))
        print(streamed(client))


if __name__ == "__main__":
    main()
