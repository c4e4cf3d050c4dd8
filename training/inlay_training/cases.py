"""Questions about scenes that training never saw, in every form that a prompt can have."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image

from inlay_training.questions import (
    KINDS,
    KINDS_ABOUT_TWO,
    Question,
    ask,
    ask_about_two,
    ask_without_picture,
    small_talk,
    vary,
)
from inlay_training.world import Scene, draw_canvas, draw_held, draw_picture, encode_picture

SCHEMA_KIND = "json under a schema"
FORMS = ("plain", "chat", "picture last", "chat, picture last", "second turn")


@dataclass(frozen=True)
class Case:
    """One prompt with its pictures, and the answer that counts as right."""

    kind: str
    form: str
    text: str
    pictures: tuple[Image.Image, ...]
    answer: str
    num_items: int = 0
    canvas: str = ""
    file_format: str = ""


Render = Callable[[Sequence[tuple[str, str]]], str]
"""The chat template over (role, text) turns, up to the answer."""


def draw_cases(render: Render, num_scenes: int, rng: Random) -> list[Case]:
    """`num_scenes` cases of each kind, in every form in turn."""
    cases = []
    for kind in KINDS:
        if kind == SCHEMA_KIND:
            continue
        for n in range(num_scenes):
            cases.append(_draw_case(render, kind, FORMS[n % len(FORMS)], rng))
    for kind in KINDS_ABOUT_TWO:
        for n in range(num_scenes):
            cases.append(_draw_case_about_two(render, kind, ("plain", "chat")[n % 2], rng))
    for ask_text in (small_talk, ask_without_picture):
        for n in range(num_scenes // 4):
            cases.append(_text_case(render, ask_text(rng), ("plain", "chat")[n % 2]))
    return cases


def _draw_case(render: Render, kind: str, form: str, rng: Random) -> Case:
    while True:
        scene = draw_held(rng, held_out=True)
        question = ask(kind, scene, rng)
        if question is not None:
            break
    picture, canvas, file_format = draw_file(scene, rng)
    prompt = vary(question.prompt, rng)
    if form == "plain":
        text = f"<image>{prompt}{rng.choice(('', ' ', chr(10), chr(10) * 2))}"
    elif form == "chat":
        text = render([("user", f"<image>{prompt}")])
    elif form == "picture last":
        text = f"{prompt}{rng.choice(('', ' ', chr(10)))}<image>{rng.choice(('', chr(10)))}"
    elif form == "chat, picture last":
        text = render([("user", f"{prompt}<image>")])
    else:
        first = find(rng.choice(("caption", "count", "colors", "json")), scene, rng)
        text = render(
            [("user", f"<image>{first.prompt}"), ("assistant", first.answer), ("user", prompt)]
        )
    num_items = len(scene.items)
    return Case(kind, form, text, (picture,), question.answer, num_items, canvas, file_format)


def _draw_case_about_two(render: Render, kind: str, form: str, rng: Random) -> Case:
    scenes = [draw_held(rng, held_out=True) for _ in range(2)]
    pictures = [draw_file(scene, rng)[0] for scene in scenes]
    question = ask_about_two(kind, scenes, rng)
    text = f"<image><image>{question.prompt}"
    text = render([("user", text)]) if form == "chat" else f"{text}\n"
    return Case(kind, form, text, tuple(pictures), question.answer)


def _text_case(render: Render, question: Question, form: str) -> Case:
    text = question.prompt
    text = render([("user", text)]) if form == "chat" else f"{text}\n\n"
    return Case(question.kind, form, text, (), question.answer)


def draw_file(scene: Scene, rng: Random) -> tuple[Image.Image, str, str]:
    """(the picture as opened from a file, the range of its longer side, its format)."""
    canvas = draw_canvas(rng)
    file_format = rng.choice(("PNG", "JPEG", "WEBP"))
    file = encode_picture(draw_picture(scene, rng, canvas), file_format, rng)
    edges = (128, 256, 512, 1024)
    longest = next(edge for edge in edges if max(canvas) <= edge)
    return Image.open(io.BytesIO(file)), f"up to {longest}", file_format


def find(kind: str, scene: Scene, rng: Random) -> Question:
    """A question that any scene has an answer to."""
    question = ask(kind, scene, rng)
    assert question is not None, kind
    return question
