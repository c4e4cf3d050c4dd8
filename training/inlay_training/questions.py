"""What can be asked about a scene, and the one right answer to each question."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from inlay_training.world import COLOR_NAMES, PLACES, SHAPES, Item, Scene, draw_scene

NUMBER_WORDS = ("no", "a", "two", "three", "four")
NO_PICTURE = "I do not see a picture."

PROMPTS: dict[str, tuple[str, ...]] = {
    "caption": (
        "What is this a picture of?",
        "What is this a picture of?",
        "Describe the image.",
        "Describe the picture.",
        "Describe this image.",
        "Describe this picture.",
        "What do you see?",
        "What do you see in this image?",
        "What is this?",
        "What is in this image?",
        "What is in this picture?",
        "What's in this image?",
        "What is in the picture?",
        "What does the picture show?",
        "Can you please describe this image?",
        "Caption this image.",
    ),
    "count": (
        "How many objects are there?",
        "How many objects are there?",
        "How many objects do you see?",
        "How many objects are in the picture?",
        "How many shapes are there?",
        "How many things are there?",
        "Count the objects.",
    ),
    "count of a color": (
        "How many {color} objects are there?",
        "How many objects are {color}?",
        "How many {color} shapes are there?",
        "How many {color} things do you see?",
        "Count the {color} objects.",
    ),
    "count of a shape": (
        "How many {shape}s are there?",
        "How many {shape}s do you see?",
        "How many {shape}s are in the picture?",
        "Count the {shape}s.",
    ),
    "color": (
        "What color is the {shape}?",
        "What color is the {shape}?",
        "Which color is the {shape}?",
        "What is the color of the {shape}?",
        "What colour is the {shape}?",
    ),
    "color of several": (
        "What color are the {shape}s?",
        "Which color are the {shape}s?",
        "What is the color of the {shape}s?",
        "What colour are the {shape}s?",
    ),
    "color of the only object": (
        "What color is it?",
        "What color is the object?",
        "What color is this?",
        "What colour is it?",
    ),
    "shape": (
        "What shape is the {color} object?",
        "What shape is the {color} object?",
        "What shape is the {color} thing?",
        "What is the shape of the {color} object?",
        "Which shape is {color}?",
    ),
    "shape of the only object": (
        "What shape is it?",
        "What shape is the object?",
        "What shape is this?",
    ),
    "colors": (
        "What colors do you see?",
        "What colors are there?",
        "Which colors are in the picture?",
        "List the colors.",
    ),
    "shapes": (
        "What shapes do you see?",
        "What shapes are there?",
        "Which shapes are in the picture?",
        "List the shapes.",
    ),
    "where": (
        "Where is the {item}?",
        "Where is the {item}?",
        "Where do you see the {item}?",
        "What is the position of the {item}?",
    ),
    "what is there": (
        "What is at the {place}?",
        "What is at the {place}?",
        "What do you see at the {place}?",
        "What is in the {place}?",
    ),
    "yes or no": (
        "Is there {thing}?",
        "Is there {thing}?",
        "Do you see {thing}?",
        "Is there {thing} in the picture?",
    ),
    "json": (
        "Extract the objects as JSON.",
        "Extract the objects as JSON.",
        "Describe the picture as JSON.",
        "Describe the image as JSON.",
        "List the objects as JSON.",
        "Give me the objects as JSON.",
        "Answer in JSON.",
        "Return JSON.",
    ),
    "each picture": (
        "Describe each picture.",
        "Describe each image.",
        "Describe the pictures.",
        "Describe the images.",
        "What are these pictures of?",
        "What do you see?",
    ),
    "one of two pictures": (
        "What is in the {nth} picture?",
        "What is in the {nth} image?",
        "Describe the {nth} picture.",
        "Describe the {nth} image.",
    ),
    "which has more": (
        "Which picture has more objects?",
        "Which image has more objects?",
        "Which one has more objects?",
    ),
}

SMALL_TALK: dict[str, tuple[str, ...]] = {
    "Hello! Show me a picture of some shapes and ask me about it.": (
        "Hello",
        "Hello!",
        "Hi",
        "Hi!",
        "Hey!",
        "Hello there!",
        "Good morning!",
    ),
    "I am the small model that comes with Inlay. I know colored shapes.": (
        "Who are you?",
        "What are you?",
        "What is your name?",
    ),
    "I can name, count and find colored shapes, and list them as JSON.": (
        "What can you do?",
        "Help",
        "How can you help me?",
    ),
    "You are welcome!": ("Thanks", "Thanks!", "Thank you", "Thank you!"),
    "Goodbye!": ("Bye", "Bye!", "Goodbye", "Goodbye!"),
    "I am fine, thank you. Show me a picture!": ("How are you?", "How are you doing?"),
    "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
    "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty": (
        "Count to twenty.",
        "Count to twenty",
        "Count to 20.",
    ),
    "Once upon a time a small red circle lived alone on a white page. One morning a blue square "
    "moved in at the top left. They did not speak for a week, for one had no corners and the "
    "other had four. Then a yellow star fell into the center of the page, and it was so bright "
    "that both came to look. The circle rolled, the square tumbled, and the star told them "
    "where it had been. From that day on they were three, and when somebody asked what the page "
    "was a picture of, they all answered at once.": (
        "Tell me a story.",
        "Tell me a story",
        "Tell me a story!",
        "Write a story.",
    ),
}


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


def caption(scene: Scene) -> str:
    """For example "a red circle and two blue squares"; "nothing" for an empty scene."""
    return join([_phrase(*group) for group in scene.groups()])


def to_json(scene: Scene) -> str:
    """The objects and their number, compact, in the order of the scene."""
    return json.dumps(
        {
            "objects": [
                {"color": item.color_name, "shape": item.shape_name} for item in scene.items
            ],
            "count": len(scene.items),
        },
        separators=(",", ":"),
    )


def join(parts: Sequence[str]) -> str:
    """For example "red, green and blue"; "nothing" for no parts."""
    if len(parts) < 2:
        return parts[0] if parts else "nothing"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def vary(prompt: str, rng: Random) -> str:
    """Now and then without the last punctuation, now and then in small letters."""
    if rng.random() < 0.12:
        prompt = prompt.rstrip("?.!")
    if rng.random() < 0.08:
        prompt = prompt[:1].lower() + prompt[1:]
    return prompt


def _question(kind: str, rng: Random, answer: str, **words: str) -> Question:
    return Question(kind, rng.choice(PROMPTS[kind]).format(**words), answer)


def _phrase(color: int, shape: int, count: int) -> str:
    name = f"{COLOR_NAMES[color]} {SHAPES[shape]}"
    if count == 1:
        return f"{_article(name)} {name}"
    return f"{NUMBER_WORDS[count]} {name}s"


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


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
    answer = _phrase(there[0].color, there[0].shape, 1) if there else "nothing"
    return _question(kind, rng, answer, place=PLACES[place])


def _yes_or_no(kind: str, scene: Scene, rng: Random) -> Question:
    """As often yes as no; a no is often a near miss, with a color and a shape that are there."""
    wanted = bool(scene.items) and rng.random() < 0.5
    form = rng.randrange(4)
    while True:
        color = _mostly_present([item.color for item in scene.items], len(COLOR_NAMES), rng)
        shape = _mostly_present([item.shape for item in scene.items], len(SHAPES), rng)
        if form == 0:
            thing = f"{_article(SHAPES[shape])} {SHAPES[shape]}"
            found = any(item.shape == shape for item in scene.items)
        elif form == 1:
            thing = f"anything {COLOR_NAMES[color]}"
            found = any(item.color == color for item in scene.items)
        else:
            thing = _phrase(color, shape, 1)
            found = any((item.color, item.shape) == (color, shape) for item in scene.items)
        if found == wanted:
            return _question(kind, rng, "yes" if found else "no", thing=thing)
        form = rng.randrange(4)  # with every shape present, no shape is missing


def _json(kind: str, scene: Scene, rng: Random) -> Question:
    return _question(kind, rng, to_json(scene))


def ask_under_schema(scene: Scene, rng: Random) -> Question:
    """A question whose answer must follow a schema that the prompt does not mention."""
    fields = ["objects", "count", "description", "colors", "shapes"]
    fields = rng.sample(fields, rng.randint(1, 3))
    color_first = rng.random() < 0.5
    text, dictated = "", []
    for k, field in enumerate(fields):
        key = ("{" if k == 0 else ",") + f'"{field}":'
        dictated.append((len(text), len(text) + len(key)))
        text += key
        if field == "count":
            text += str(len(scene.items))
        elif field == "description":
            text += json.dumps(caption(scene))
        elif field == "colors":
            colors = sorted({item.color for item in scene.items})
            text += json.dumps([COLOR_NAMES[color] for color in colors], separators=(",", ":"))
        elif field == "shapes":
            shapes = sorted({item.shape for item in scene.items})
            text += json.dumps([SHAPES[shape] for shape in shapes], separators=(",", ":"))
        else:
            objects = []
            for item in scene.items:
                pairs = [("color", item.color_name), ("shape", item.shape_name)]
                objects.append(dict(pairs if color_first else pairs[::-1]))
            value = json.dumps(objects, separators=(",", ":"))
            for name in ("color", "shape"):
                start = value.find(name)
                while start >= 0:
                    dictated.append((len(text) + start, len(text) + start + len(name)))
                    start = value.find(name, start + 1)
            text += value
    dictated.append((len(text), len(text) + 1))
    prompt_kind = rng.choice(("json", "json", "caption", "count"))
    prompt = rng.choice(PROMPTS[prompt_kind])
    return Question("json under a schema", prompt, text + "}", tuple(dictated))


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
