"""vLLM's chat with pictures: OpenAI's messages, pictures by URL or as objects of PIL."""

import base64
from pathlib import Path
from typing import Any

from PIL import Image

from inlay import LLM, SamplingParams

PICTURES = Path(__file__).parent


def talk(llm: LLM) -> list[str]:
    """Two conversations in one call."""
    encoded = base64.b64encode((PICTURES / "shapes.png").read_bytes()).decode()
    by_url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    by_object = {"type": "image_pil", "image_pil": Image.open(PICTURES / "star.jpg")}
    with_earlier_turns: list[dict[str, Any]] = [
        {"role": "user", "content": [by_url, {"type": "text", "text": "What is in the picture?"}]},
        {"role": "assistant", "content": "a red circle and two blue squares"},
        {"role": "user", "content": "What color is the circle?"},
    ]
    alone: list[dict[str, Any]] = [
        {"role": "user", "content": [by_object, {"type": "text", "text": "What shape is it?"}]}
    ]
    outputs = llm.chat([with_earlier_turns, alone], SamplingParams(temperature=0.0))
    return [output.outputs[0].text for output in outputs]


if __name__ == "__main__":
    with LLM() as llm:
        print(talk(llm))
