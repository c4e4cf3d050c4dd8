"""What can be asked about a scene, and the one right answer to each question."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from inlay_training.descriptions import article, caption, join, phrase, to_json
from inlay_training.prompts import PROMPTS, SMALL_TALK
from inlay_training.world import COLOR_NAMES, PLACES, SHAPES, Item, Scene, draw_scene

NO_PICTURE = "I do not see a picture."


@dataclass(frozen=True)
class Question:
    """A prompt without its pictures, and its one right answer.

    `dictated` are half-open intervals of characters of the answer that a grammar would dictate:
    they are read by the model, but not taught.
    """

    kind: str
    prompt: str
    answer: str
    dictated: tuple[tuple[int, int], ...] = ()


def ask(kind: str, scene: Scene, rng: Random) -> Question | None:
    """A random question of this kind; None if the scene has no clear answer to any."""
    return ASKERS[kind](kind, scene, rng)


def ask_about_two(kind: str, scenes: Sequence[Scene], rng: Random) -> Question:
    """A random question about two pictures."""
    first, second = scenes
    if kind == "each picture":
        return _question(kind, rng, f"first, {caption(first)}; second, {caption(second)}")
    if kind == "one of two pictures":
        nth = rng.randrange(2)
        return _question(kind, rng, caption(scenes[nth]), nth=("first", "second")[nth])
    if kind == "which has more":
        difference = len(first.items) - len(second.items)
        answer = "the first" if difference > 0 else "the second" if difference < 0 else "neither"
        return _question(kind, rng, answer)
    raise ValueError(f"no question about two pictures is called {kind!r}")


def small_talk(rng: Random) -> Question:
    """Something said without looking at a picture."""
    answer = rng.choice(list(SMALL_TALK))
    return Question("small talk", rng.choice(SMALL_TALK[answer]), answer)


def ask_without_picture(rng: Random) -> Question:
    """A question about a picture that was not sent."""
    kind = rng.choice(("caption", "count", "json", "colors", "color of the only object"))
    return Question("no picture", rng.choice(PROMPTS[kind]), NO_PICTURE)


def vary(prompt: str, rng: Random) -> str:
    """Now and then without the last punctuation, now and then in small letters."""
    if rng.random() < 0.12:
        prompt = prompt.rstrip("?.!")
    if rng.random() < 0.08:
        prompt = prompt[:1].lower() + prompt[1:]
    return prompt


def _question(kind: str, rng: Random, answer: str, **words: str) -> Question:
    return Question(kind, rng.choice(PROMPTS[kind]).format(**words), answer)


def _caption(kind: str, scene: Scene, rng: Random) -> Question:
    return _question(kind, rng, caption(scene))


def _count(kind: str, scene: Scene, rng: Random) -> Question:
    return _question(kind, rng, str(len(scene.items)))


def _count_of_a_color(kind: str, scene: Scene, rng: Random) -> Question:
    color = _mostly_present([item.color for item in scene.items], len(COLOR_NAMES), rng)
    count = sum(item.color == color for item in scene.items)
    return _question(kind, rng, str(count), color=COLOR_NAMES[color])


def _count_of_a_shape(kind: str, scene: Scene, rng: Random) -> Question:
    shape = _mostly_present([item.shape for item in scene.items], len(SHAPES), rng)
    count = sum(item.shape == shape for item in scene.items)
    return _question(kind, rng, str(count), shape=SHAPES[shape])


def _mostly_present(present: Sequence[int], num_choices: int, rng: Random) -> int:
    if present and rng.random() < 0.75:
        return rng.choice(sorted(set(present)))
    return rng.randrange(num_choices)


def _color(kind: str, scene: Scene, rng: Random) -> Question | None:
    items = [item for item in scene.items if _num_of_shape(scene, item.shape) == 1]
    if not items:
        return None
    item = rng.choice(items)
    return _question(kind, rng, item.color_name, shape=item.shape_name)


def _color_of_several(kind: str, scene: Scene, rng: Random) -> Question | None:
    colors: dict[int, set[int]] = {}
    for item in scene.items:
        colors.setdefault(item.shape, set()).add(item.color)
    shapes = [
        shape
        for shape, found in colors.items()
        if len(found) == 1 and _num_of_shape(scene, shape) > 1
    ]
    if not shapes:
        return None
    shape = rng.choice(shapes)
    return _question(kind, rng, COLOR_NAMES[min(colors[shape])], shape=SHAPES[shape])


def _num_of_shape(scene: Scene, shape: int) -> int:
    return sum(item.shape == shape for item in scene.items)


def _color_of_the_only_object(kind: str, scene: Scene, rng: Random) -> Question | None:
    if len(scene.items) != 1:
        return None
    return _question(kind, rng, scene.items[0].color_name)


def _shape(kind: str, scene: Scene, rng: Random) -> Question | None:
    counts = Counter(item.color for item in scene.items)
    items = [item for item in scene.items if counts[item.color] == 1]
    if not items:
        return None
    item = rng.choice(items)
    return _question(kind, rng, item.shape_name, color=item.color_name)


def _shape_of_the_only_object(kind: str, scene: Scene, rng: Random) -> Question | None:
    if len(scene.items) != 1:
        return None
    return _question(kind, rng, scene.items[0].shape_name)


def _colors(kind: str, scene: Scene, rng: Random) -> Question:
    colors = sorted({item.color for item in scene.items})
    return _question(kind, rng, join([COLOR_NAMES[color] for color in colors]))


def _shapes(kind: str, scene: Scene, rng: Random) -> Question:
    shapes = sorted({item.shape for item in scene.items})
    return _question(kind, rng, join([SHAPES[shape] for shape in shapes]))


def _where(kind: str, scene: Scene, rng: Random) -> Question | None:
    named: dict[str, list[Item]] = {}
    for item in scene.items:
        for name in (f"{item.color_name} {item.shape_name}", item.shape_name):
            named.setdefault(name, []).append(item)
    names = [name for name, items in named.items() if len(items) == 1]
    if not names:
        return None
    name = rng.choice(names)
    return _question(kind, rng, named[name][0].place_name, item=name)


def _what_is_there(kind: str, scene: Scene, rng: Random) -> Question:
    place = _mostly_present([item.place for item in scene.items], len(PLACES), rng)
    there = [item for item in scene.items if item.place == place]
    answer = phrase(there[0].color, there[0].shape, 1) if there else "nothing"
    return _question(kind, rng, answer, place=PLACES[place])


def _yes_or_no(kind: str, scene: Scene, rng: Random) -> Question:
    """As often yes as no; a no is often a near miss, with a color and a shape that are there."""
    wanted = bool(scene.items) and rng.random() < 0.5
    form = rng.randrange(4)
    while True:
        color = _mostly_present([item.color for item in scene.items], len(COLOR_NAMES), rng)
        shape = _mostly_present([item.shape for item in scene.items], len(SHAPES), rng)
        if form == 0:
            thing = f"{article(SHAPES[shape])} {SHAPES[shape]}"
            found = any(item.shape == shape for item in scene.items)
        elif form == 1:
            thing = f"anything {COLOR_NAMES[color]}"
            found = any(item.color == color for item in scene.items)
        else:
            thing = phrase(color, shape, 1)
            found = any((item.color, item.shape) == (color, shape) for item in scene.items)
        if found == wanted:
            return _question(kind, rng, "yes" if found else "no", thing=thing)
        form = rng.randrange(4)  # with every shape present, no shape is missing


def _json(kind: str, scene: Scene, rng: Random) -> Question:
    return _question(kind, rng, to_json(scene))


def ask_under_schema(scene: Scene, rng: Random) -> Question:
    """A question whose answer must follow a schema that the prompt does not mention."""
    fields = rng.sample(("objects", "count", "description", "colors", "shapes"), rng.randint(1, 3))
    item_keys = ("color", "shape") if rng.random() < 0.5 else ("shape", "color")
    text, dictated = "", []
    for k, field in enumerate(fields):
        key = ("{" if k == 0 else ",") + f'"{field}":'
        dictated.append((len(text), len(text) + len(key)))
        text += key
        value = json.dumps(_field(field, scene, item_keys), separators=(",", ":"))
        if field == "objects":
            for match in re.finditer("color|shape", value):
                dictated.append((len(text) + match.start(), len(text) + match.end()))
        text += value
    dictated.append((len(text), len(text) + 1))
    prompt_kind = rng.choice(("json", "json", "caption", "count"))
    prompt = rng.choice(PROMPTS[prompt_kind])
    return Question("json under a schema", prompt, text + "}", tuple(dictated))


def _field(field: str, scene: Scene, item_keys: Sequence[str]) -> object:
    if field == "count":
        return len(scene.items)
    if field == "description":
        return caption(scene)
    if field == "colors":
        return [COLOR_NAMES[color] for color in sorted({item.color for item in scene.items})]
    if field == "shapes":
        return [SHAPES[shape] for shape in sorted({item.shape for item in scene.items})]
    names = [{"color": item.color_name, "shape": item.shape_name} for item in scene.items]
    return [{key: name[key] for key in item_keys} for name in names]


ASKERS: dict[str, Callable[[str, Scene, Random], Question | None]] = {
    "caption": _caption,
    "count": _count,
    "count of a color": _count_of_a_color,
    "count of a shape": _count_of_a_shape,
    "color": _color,
    "color of several": _color_of_several,
    "color of the only object": _color_of_the_only_object,
    "shape": _shape,
    "shape of the only object": _shape_of_the_only_object,
    "colors": _colors,
    "shapes": _shapes,
    "where": _where,
    "what is there": _what_is_there,
    "yes or no": _yes_or_no,
    "json": _json,
    "json under a schema": lambda _, scene, rng: ask_under_schema(scene, rng),
}
KINDS = tuple(ASKERS)
KINDS_ABOUT_TWO = ("each picture", "one of two pictures", "which has more")


def all_sentences(rng: Random, num_scenes: int) -> list[str]:
    """Prompts and answers about random scenes, and all small talk: what the tokenizer learns."""
    sentences = [NO_PICTURE, " system", " You are a helpful assistant."]
    for answer, prompts in SMALL_TALK.items():
        sentences += [answer, *prompts] * 20
    for _ in range(num_scenes):
        scenes = (draw_scene(rng), draw_scene(rng))
        questions = [ask(kind, scenes[0], rng) for kind in KINDS]
        questions += [ask_about_two(kind, scenes, rng) for kind in KINDS_ABOUT_TWO]
        for question in questions:
            if question is not None:
                blanks = rng.choice(("", "\n", "\n\n"))
                sentences += [vary(question.prompt, rng) + blanks, question.answer]
    return sentences
