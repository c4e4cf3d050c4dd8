"""The engine against `transformers` generate: token for token, alone and in a crowd."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from driver import Driver, Running
from local_shard import Shard, picture, start_shard
from tiny_models import FAMILIES, TAKE_IMAGES, make_tiny
from transformers_reference import Reference

from inlay.model_folder import EMBEDDED_MODEL
from inlay_shard.images.recipe import Piece


@dataclass
class Case:
    """A tiny model in the engine and in `transformers`, and what is asked of both."""

    shard: Shard
    reference: Reference
    texts: list[list[int]]
    seen: list[list[Piece]]
    answers: list[list[int]]

    def ask(self, driver: Driver) -> list[Running]:
        """All sixteen questions, as sequences of a driver."""
        running = [driver.add(token_ids) for token_ids in self.texts]
        for pieces in self.seen:
            reply = self.shard.prepare(pieces)
            running.append(driver.add(reply.token_ids, features_key=reply.features_key))
        return running


@pytest.fixture(scope="module", params=[*FAMILIES, "embedded"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One model and sixteen prompts of mixed length; half with images if it takes any."""
    family: str = request.param
    if family == "embedded":
        return make_case(EMBEDDED_MODEL, takes_images=True)
    folder = make_tiny(family, tmp_path_factory.mktemp("models") / family)
    return make_case(folder, takes_images=family in TAKE_IMAGES)


def make_case(folder: Path, *, takes_images: bool) -> Case:
    shard = start_shard(folder, takes_images=takes_images)
    reference = Reference(folder, takes_images=takes_images)
    numbers = random.Random(3)
    num_texts = 8 if takes_images else 16
    texts = [
        [numbers.randrange(10, 260) for _ in range(numbers.choice([1, 3, 8, 17, 40, 100]))]
        for _ in range(num_texts)
    ]
    seen: list[list[Piece]] = [
        [*(["before "] * (n % 2)), picture(n, 48 + 8 * (n % 3)), *_more(n)]
        for n in range(16 - num_texts)
    ]
    answers = [reference.generate(token_ids) for token_ids in texts]
    answers += [reference.generate_seen(pieces) for pieces in seen]
    return Case(shard, reference, texts, seen, answers)


def _more(number: int) -> list[Piece]:
    """What follows the first image: text, and every third time another image."""
    if number % 3:
        return ["what is " * (number % 4 + 1)]
    return [" and ", picture(number + 100, 32, 64), "?"]


def test_answers_differ(case: Case) -> None:
    """The test would not notice much if the models said the same to everything."""
    assert len({tuple(answer) for answer in case.answers}) > 8


def test_alone(case: Case) -> None:
    for index in (0, 5, 9, 15):
        driver = Driver(case.shard)
        running = case.ask(driver)
        driver.sequences = {running[index].message.sequence_id: running[index]}
        driver.run()
        assert running[index].output_ids == case.answers[index]


@pytest.mark.parametrize("chunk", [1 << 20, 5])
def test_in_a_crowd(case: Case, chunk: int) -> None:
    """All at once; with a small chunk, prefills are cut inside images, beside decodes."""
    driver = Driver(case.shard, chunk=chunk)
    running = case.ask(driver)
    driver.run()
    assert [one.output_ids for one in running] == case.answers


def test_joining_one_after_the_other(case: Case) -> None:
    """Prefills beside decodes; blocks of those that ended are used again."""
    driver = Driver(case.shard, chunk=16)
    running = case.ask(driver)
    waiting = list(driver.sequences.items())
    driver.sequences = {}
    while waiting or any(not one.is_over for one in running):
        if waiting:
            driver.sequences.update([waiting.pop()])
        driver.step()
    assert [one.output_ids for one in running] == case.answers


def test_preempted_and_resumed(case: Case) -> None:
    """Every third sequence loses its blocks half-way and is computed again."""
    driver = Driver(case.shard, chunk=16)
    running = case.ask(driver)
    for _ in range(6):
        driver.step()
    for one in running[::3]:
        if not one.is_over:
            driver.preempt(one)
    driver.run()
    assert [one.output_ids for one in running] == case.answers
