"""Every question has the right answer, the same one for the same seed."""

import json
from collections import Counter
from random import Random

import pytest

from inlay_training.descriptions import caption, join, to_json
from inlay_training.questions import KINDS, KINDS_ABOUT_TWO, ask, ask_about_two, ask_under_schema
from inlay_training.world import COLOR_NAMES, PLACES, SHAPES, Item, Scene, draw_scene

RED, ORANGE, BLUE = (COLOR_NAMES.index(name) for name in ("red", "orange", "blue"))
CIRCLE, SQUARE, STAR = (SHAPES.index(name) for name in ("circle", "square", "star"))
SCENE = Scene.of([Item(BLUE, SQUARE, 8), Item(RED, CIRCLE, 0), Item(BLUE, SQUARE, 4)])


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], "nothing"),
        ([Item(ORANGE, STAR, 3)], "an orange star"),
        (SCENE.items, "a red circle and two blue squares"),
        (
            [Item(RED, STAR, 1), Item(RED, CIRCLE, 2), Item(BLUE, STAR, 0)],
            "a red circle, a red star and a blue star",
        ),
    ],
)
def test_a_caption_groups_and_counts(items: list[Item], expected: str) -> None:
    assert caption(Scene.of(items)) == expected


def test_json_lists_every_item_in_order() -> None:
    assert to_json(SCENE) == (
        '{"objects":[{"color":"red","shape":"circle"},{"color":"blue","shape":"square"},'
        '{"color":"blue","shape":"square"}],"count":3}'
    )


def test_join() -> None:
    assert join([]) == "nothing"
    assert join(["red"]) == "red"
    assert join(["red", "green", "blue"]) == "red, green and blue"


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("count", {"3"}),
        ("count of a color", {"0", "1", "2"}),
        ("count of a shape", {"0", "1", "2"}),
        ("color", {"red"}),
        ("color of several", {"blue"}),
        ("shape", {"circle"}),
        ("colors", {"red and blue"}),
        ("shapes", {"circle and square"}),
        ("where", {"top left"}),
        ("what is there", {"a red circle", "a blue square", "nothing"}),
        ("yes or no", {"yes", "no"}),
    ],
)
def test_answers_about_one_scene(kind: str, answers: set[str]) -> None:
    rng = Random(4)
    questions = [ask(kind, SCENE, rng) for _ in range(200)]
    assert {question.answer for question in questions if question} == answers


def test_places_in_answers_are_those_of_the_scene() -> None:
    rng = Random(5)
    by_place = {PLACES[item.place]: item for item in SCENE.items}
    for _ in range(100):
        question = ask("what is there", SCENE, rng)
        assert question is not None
        place = next(p for p in sorted(PLACES, key=len, reverse=True) if p in question.prompt)
        item = by_place.get(place)
        expected = f"a {item.color_name} {item.shape_name}" if item else "nothing"
        assert question.answer == expected, question.prompt


def test_questions_without_a_clear_answer_are_not_asked() -> None:
    two_circles = Scene.of([Item(RED, CIRCLE, 0), Item(BLUE, CIRCLE, 1)])
    rng = Random(6)
    assert ask("color", two_circles, rng) is None
    assert ask("color of several", two_circles, rng) is None
    assert ask("color of the only object", two_circles, rng) is None
    assert ask("where", Scene(()), rng) is None


def test_yes_and_no_are_equally_likely() -> None:
    rng = Random(7)
    answers = Counter(
        question.answer
        for _ in range(2000)
        if (question := ask("yes or no", draw_scene(rng, num_items=3), rng))
    )
    assert 0.45 < answers["yes"] / answers.total() < 0.55


def test_two_pictures_are_told_apart() -> None:
    one = Scene((Item(ORANGE, STAR, 0),))
    rng = Random(8)
    assert ask_about_two("each picture", (one, SCENE), rng).answer == (
        "first, an orange star; second, a red circle and two blue squares"
    )
    assert ask_about_two("which has more", (one, SCENE), rng).answer == "the second"
    assert ask_about_two("which has more", (one, one), rng).answer == "neither"
    with pytest.raises(ValueError, match="three"):
        ask_about_two("three", (one, SCENE), rng)


def test_an_answer_under_a_schema_is_json_and_only_keys_are_dictated() -> None:
    rng = Random(9)
    for _ in range(200):
        question = ask_under_schema(SCENE, rng)
        json.loads(question.answer)
        dictated = "".join(question.answer[start:stop] for start, stop in question.dictated)
        assert not any(word in dictated for word in ("red", "blue", "square", "3"))


def test_the_same_seed_asks_the_same_questions() -> None:
    def ask_all(rng: Random) -> list[object]:
        scenes = (draw_scene(rng), draw_scene(rng))
        questions: list[object] = [ask(kind, scenes[0], rng) for kind in KINDS]
        return questions + [ask_about_two(kind, scenes, rng) for kind in KINDS_ABOUT_TWO]

    assert ask_all(Random(10)) == ask_all(Random(10))
