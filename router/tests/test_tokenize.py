"""`/tokenize`: ids, texts and places."""

import base64
from functools import partial
from pathlib import Path

from scripted_router import post

from inlay_router.links.scripted_shard import NUM_TOKENS_AN_IMAGE

tokenize = partial(post, "/tokenize")
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_tokens_say_where_they_stand() -> None:
    spans = tokenize({"inputs": "abé</s>"}).json()
    assert [list(span) for span in spans] == [["id", "text", "start", "stop"]] * len(spans)
    assert [(span["text"], span["start"], span["stop"]) for span in spans] == [
        ("a", 0, 1),
        ("b", 1, 2),
        ("é", 2, 3),  # two bytes, a token each
        ("é", 2, 3),
        ("</s>", 3, 7),
    ]


def test_the_tokens_of_an_image_count() -> None:
    picture = base64.b64encode((EXAMPLES / "shapes.png").read_bytes()).decode()
    spans = tokenize({"inputs": f"a![](data:image/png;base64,{picture})b"}).json()
    texts = ["a", *["<image>"] * NUM_TOKENS_AN_IMAGE, "b"]
    assert [span["text"] for span in spans] == texts
    assert (spans[-1]["start"], spans[-1]["stop"]) == (29, 30)


def test_what_cannot_be_read_is_refused() -> None:
    response = tokenize({"inputs": ""})
    assert (response.status_code, response.json()["error_type"]) == (422, "validation")
    long = tokenize({"inputs": "a" * 10_000})
    assert (long.status_code, long.json()["error_type"]) == (422, "validation")
