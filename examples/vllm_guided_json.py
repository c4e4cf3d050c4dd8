"""vLLM's structured outputs: an answer held to a pydantic model, a choice, a regex."""

from pathlib import Path

from PIL import Image
from pydantic import BaseModel

from inlay import LLM, SamplingParams, StructuredOutputsParams

PICTURES = Path(__file__).parent


class Thing(BaseModel):
    """One object of a picture."""

    color: str
    shape: str


class Scene(BaseModel):
    """All objects of a picture."""

    objects: list[Thing]
    count: int


def extract(llm: LLM) -> Scene:
    """The objects of a picture, as an object of Python."""
    params = SamplingParams(
        temperature=0.0,
        max_tokens=200,
        structured_outputs=StructuredOutputsParams(json=Scene.model_json_schema()),
    )
    return Scene.model_validate_json(_ask(llm, "Extract the objects as JSON.", params))


def choose(llm: LLM) -> str:
    """One of three words."""
    params = SamplingParams(temperature=0.0, grammar=["red", "green", "yellow"])
    return _ask(llm, "What color is the circle?", params)


def match(llm: LLM) -> str:
    """A number of one digit."""
    params = SamplingParams(temperature=0.0, grammar=r"\d")
    return _ask(llm, "How many objects are there?", params)


def _ask(llm: LLM, question: str, params: SamplingParams) -> str:
    prompt = {
        "prompt": f"<image>{question}\n\n",
        "multi_modal_data": {"image": Image.open(PICTURES / "shapes.png")},
    }
    return llm.generate(prompt, params)[0].outputs[0].text


if __name__ == "__main__":
    with LLM() as llm:
        print(extract(llm), choose(llm), match(llm))
