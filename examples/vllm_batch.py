"""vLLM's batch inference: many prompts in one call, which run together."""

from pathlib import Path

from PIL import Image

from inlay import LLM, SamplingParams

PICTURES = Path(__file__).parent


def count(llm: LLM) -> dict[str, str]:
    """How many objects are in each picture."""
    names = ["shapes.png", "star.jpg", "triangles.png", "four.webp"]
    prompts = [
        {
            "prompt": "<image>How many objects are there?\n\n",
            "multi_modal_data": {"image": Image.open(PICTURES / name)},
        }
        for name in names
    ]
    outputs = llm.generate(prompts, SamplingParams(temperature=0.0, max_tokens=8))
    return {name: output.outputs[0].text for name, output in zip(names, outputs, strict=True)}


if __name__ == "__main__":
    with LLM() as llm:
        print(count(llm))
