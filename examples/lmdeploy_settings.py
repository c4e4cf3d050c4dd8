"""LMDeploy's guide to vision-language pipelines: settings of engine, eyes and chat template.

    python examples/lmdeploy_settings.py [FOLDER]

FOLDER holds a model without a chat template; without it, that of inlay is taken.
"""

import sys
from pathlib import Path

from inlay import (
    ChatTemplateConfig,
    EngineConfig,
    GenerationConfig,
    VisionConfig,
    load_image,
    pipeline,
)

SHAPES = str(Path(__file__).parent / "shapes.png")
QUESTION = "What is this a picture of?"

CUSTOM_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|' ~ message.role ~ '|>' }}
{%- for part in message.content -%}
{{ '<image>' if part.type == 'image' else part.text }}
{%- endfor -%}
<end_of_utterance>
{%- endfor -%}
<|assistant|>"""


def two_processes_and_a_window() -> str:
    """The model split over two processes, with room for 2,048 tokens of prompt and answer."""
    backend_config = EngineConfig(tp=2, session_len=2048)
    gen_config = GenerationConfig(top_k=40, top_p=0.8, temperature=0.6, random_seed=1)
    with pipeline(backend_config=backend_config) as pipe:
        return pipe((QUESTION, load_image(SHAPES)), gen_config=gen_config).text


def built_in_template(folder: str | None) -> str:
    """For a folder whose model was tuned on the conversations of LLaVA 1.5, say."""
    template = ChatTemplateConfig(model_name="llava-v1")
    with pipeline(folder, chat_template_config=template) as pipe:
        return pipe((QUESTION, load_image(SHAPES))).text


def custom_template_and_eyes(folder: str | None) -> str:
    """A template of one's own, in Jinja; and at most 16 images embedded together."""
    template = ChatTemplateConfig(jinja=CUSTOM_TEMPLATE)
    vision = VisionConfig(max_batch_size=16)
    with pipeline(folder, chat_template_config=template, vision_config=vision) as pipe:
        shapes = load_image(SHAPES)
        prompts = [(QUESTION, shapes.resize((320 + width, 240))) for width in range(20)]
        return pipe(prompts)[0].text


def main() -> None:
    """All of them."""
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    print(two_processes_and_a_window())
    print(built_in_template(folder))
    print(custom_template_and_eyes(folder))


if __name__ == "__main__":
    main()
