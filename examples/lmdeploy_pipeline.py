"""LMDeploy's guide to vision-language pipelines, example by example, on the model of inlay.

    python examples/lmdeploy_pipeline.py

What differs from LMDeploy's text is the first line, `from inlay import …`, and the pictures.
"""

import json
from pathlib import Path

from inlay import (
    IMAGE_TOKEN,
    GenerationConfig,
    Pipeline,
    Response,
    Session,
    load_image,
    pipeline,
)

HERE = Path(__file__).parent
SHAPES = str(HERE / "shapes.png")
STAR = str(HERE / "star.jpg")


def hello(pipe: Pipeline) -> Response:
    """A text and an image."""
    image = load_image(SHAPES)
    return pipe(("What is this a picture of?", image))


def openai_format(pipe: Pipeline) -> Response:
    """Messages as OpenAI writes them; the URL may be an http(s) address too."""
    prompts = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "How many objects are there?"},
                {"type": "image_url", "image_url": {"url": SHAPES}},
            ],
        }
    ]
    return pipe(prompts)


def sampling(pipe: Pipeline) -> Response:
    """Tokens are drawn; the same seed gives the same text."""
    gen_config = GenerationConfig(top_k=40, top_p=0.8, temperature=0.6, random_seed=1)
    return pipe(("What color is it?", load_image(STAR)), gen_config=gen_config)


def image_token(pipe: Pipeline) -> Response:
    """The image stands where its token does, and not in front of the text."""
    return pipe((f"What is this a picture of?{IMAGE_TOKEN}", load_image(SHAPES)))


def several_images(pipe: Pipeline) -> Response:
    """One text about two images."""
    images = [load_image(path) for path in (SHAPES, STAR)]
    return pipe(("Describe each image.", images))


def batch(pipe: Pipeline) -> list[Response]:
    """Two prompts, answered side by side."""
    prompts = [("What is this a picture of?", load_image(path)) for path in (SHAPES, STAR)]
    return pipe(prompts)


def session(pipe: Pipeline) -> Session:
    """Two turns; the second does not compute the first again."""
    gen_config = GenerationConfig(max_new_tokens=40)
    sess = pipe.chat(("What is this a picture of?", load_image(SHAPES)), gen_config=gen_config)
    return pipe.chat("How many squares are there?", session=sess, gen_config=gen_config)


def stream(pipe: Pipeline) -> str:
    """An answer as it grows."""
    pieces = pipe.stream_infer(("What is this a picture of?", load_image(SHAPES)))
    return "|".join(piece.text for piece in pieces if piece.text)


def logits(pipe: Pipeline) -> Response:
    """The model's logits at each token of the answer."""
    gen_config = GenerationConfig(output_logits="generation", max_new_tokens=10)
    return pipe(("What color is it?", load_image(STAR)), gen_config=gen_config)


def structured_output(pipe: Pipeline) -> Response:
    """An answer that satisfies a JSON schema."""
    schema = {
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
            "count": {"type": "integer"},
        },
        "required": ["objects", "count"],
    }
    gen_config = GenerationConfig(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "scene", "schema": schema},
        }
    )
    return pipe(("Extract the objects as JSON.", load_image(SHAPES)), gen_config=gen_config)


def main() -> None:
    """All of them."""
    with pipeline() as pipe:
        print(hello(pipe).text)
        print(openai_format(pipe).text)
        print(sampling(pipe).text)
        print(image_token(pipe).text)
        print(several_images(pipe).text)
        print([response.text for response in batch(pipe)])
        print(session(pipe).history)
        print(stream(pipe))
        print(logits(pipe).logits)
        print(json.loads(structured_output(pipe).text))


if __name__ == "__main__":
    main()
