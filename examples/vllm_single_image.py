"""vLLM's first example of a picture: one prompt with a mark, one picture of PIL."""

from pathlib import Path

from PIL import Image

from inlay import LLM, SamplingParams

PICTURES = Path(__file__).parent


def describe(llm: LLM) -> str:
    """What is in the picture."""
    image = Image.open(PICTURES / "shapes.png")
    outputs = llm.generate(
        {
            "prompt": "<|user|><image>What is this a picture of?<end_of_utterance><|assistant|>",
            "multi_modal_data": {"image": image},
        },
        SamplingParams(temperature=0.0, max_tokens=64),
    )
    return outputs[0].outputs[0].text


if __name__ == "__main__":
    with LLM(limit_mm_per_prompt={"image": 1}) as llm:
        print(describe(llm))
