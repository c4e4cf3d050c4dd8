"""vLLM's multi-image prompts: several marks, and a list of pictures in their order."""

from pathlib import Path

from PIL import Image

from inlay import LLM, SamplingParams

PICTURES = Path(__file__).parent


def compare(llm: LLM) -> str:
    """What is in each of two pictures."""
    images = [Image.open(PICTURES / name) for name in ("shapes.png", "star.jpg")]
    outputs = llm.generate(
        {
            "prompt": "<image><image>Describe each picture.\n\n",
            "multi_modal_data": {"image": images},
        },
        SamplingParams(temperature=0.0, max_tokens=64),
    )
    return outputs[0].outputs[0].text


if __name__ == "__main__":
    with LLM(limit_mm_per_prompt={"image": 2}) as llm:
        print(compare(llm))
