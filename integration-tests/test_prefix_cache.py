"""What was computed before serves the next prompt, and changes no answer."""

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import EXAMPLES, Server, markdown, post, serve

PICTURE = markdown(sorted(EXAMPLES.glob("*.png"))[0])
OTHER = markdown(sorted(EXAMPLES.glob("*.png"))[1])
PROMPTS = {
    "text": "The quick brown fox jumps over the lazy dog, and again, " * 3 + "and then",
    "image": f"{PICTURE}What is in this picture, and what is not, and where does it stand in it? ",
}


def ask(server: Server, inputs: str, **parameters: object) -> dict[str, Any]:
    """The answer with its details."""
    asked = {"max_new_tokens": 24, "seed": 7, "do_sample": True, "details": True} | parameters
    status, body, _ = post(f"{server.url}/generate", {"inputs": inputs, "parameters": asked})
    assert status == 200, body
    assert isinstance(body, dict)
    return body


def tokens(answer: dict[str, Any]) -> list[tuple[int, str]]:
    return [(token["id"], token["text"]) for token in answer["details"]["tokens"]]


def cached(answer: dict[str, Any]) -> int:
    return int(answer["details"].get("cached_tokens", 0))


@pytest.mark.parametrize("kind", PROMPTS)
def test_an_answer_is_the_same_cold_warm_and_in_a_crowd(server: Server, kind: str) -> None:
    inputs = f"{PROMPTS[kind]}{kind}?"
    cold = ask(server, inputs)
    warm = ask(server, inputs)
    assert cached(warm) > cached(cold)
    crowd = [f"{inputs[:-3]} number {n}" for n in range(12)]
    with ThreadPoolExecutor(32) as threads:
        others = [threads.submit(ask, server, other, seed=n) for n, other in enumerate(crowd)]
        crowded = [threads.submit(ask, server, inputs) for _ in range(4)]
        answers = [warm, *(future.result() for future in crowded)]
        for future in others:
            future.result()
    for answer in answers:
        assert tokens(answer) == tokens(cold)
        assert answer["generated_text"] == cold["generated_text"]


def test_a_later_turn_finds_the_earlier_answer(server: Server) -> None:
    first = "A conversation that nobody had before, about turns and the blocks that they share. "
    answer = ask(server, first, do_sample=False, seed=None)
    second = ask(
        server, first + answer["generated_text"] + " And then?", do_sample=False, seed=None
    )
    assert cached(second) > 0


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """The same without a prefix cache, where nobody waits for what another one computes."""
    with serve("--dtype", "float32", "--no-prefix-cache") as running:
        yield running


def test_another_image_with_the_same_words_has_its_own_answer(
    server: Server, plain: Server
) -> None:
    question = "Look: which colours and shapes are in it? "
    one = ask(server, PICTURE + question, seed=1)
    other = ask(server, OTHER + question, seed=1)
    assert tokens(ask(plain, PICTURE + question, seed=1)) == tokens(one)
    assert tokens(ask(plain, OTHER + question, seed=1)) == tokens(other)
    assert cached(ask(plain, OTHER + question, seed=1)) == 0


@pytest.mark.parametrize("kind", PROMPTS)
def test_equal_prompts_that_come_together_are_answered_as_alone(
    server: Server, plain: Server, kind: str
) -> None:
    inputs = f"{PROMPTS[kind]}{'Nobody asked this before. ' * 8}"
    alone = [tokens(ask(plain, inputs, seed=seed)) for seed in range(3)]
    with ThreadPoolExecutor(9) as threads:
        asking = [threads.submit(ask, server, inputs, seed=n % 3) for n in range(9)]
        together = [future.result() for future in asking]
    assert [tokens(answer) for answer in together] == alone * 3
    assert any(cached(answer) for answer in together)


def test_the_metrics_page_counts_what_was_found(server: Server) -> None:
    def count(name: str) -> float:
        with urllib.request.urlopen(f"{server.url}/metrics") as reply:
            found = re.search(rf"^{name} (\S+)$", reply.read().decode(), re.MULTILINE)
        assert found is not None
        return float(found.group(1))

    inputs = "Tokens that are counted, " * 12
    ask(server, inputs)
    num_asked, num_found = count("inlay_prompt_tokens"), count("inlay_cached_prompt_tokens")
    again = ask(server, inputs)
    assert count("inlay_cached_prompt_tokens") - num_found == cached(again) > 0
    assert count("inlay_prompt_tokens") - num_asked > cached(again)
