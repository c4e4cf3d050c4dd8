from pathlib import Path

import pytest

from inlay.terminal.conversation import Controls, Conversation
from inlay.terminal.errors import BadSchema, NotAPicture
from inlay.terminal.schema_file import read_schema
from inlay.terminal.typed_line import Picture, Text

URL = "https://example.org/a.png"


def talk() -> Conversation:
    conversation = Conversation()
    conversation.ask([Picture(URL), Text("What is it?")])
    conversation.answered("a star")
    conversation.ask([Text("Which color?")])
    return conversation


def test_turns_alternate() -> None:
    first, second, third = talk().chat(Controls())["messages"]
    assert first["content"] == [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "text", "text": "What is it?"},
    ]
    assert second == {"role": "assistant", "content": "a star"}
    assert third["role"] == "user"


def test_a_question_without_an_answer_is_taken_back() -> None:
    conversation = talk()
    conversation.answered("")
    assert repr(conversation) == "Conversation(2 messages)"
    conversation.reset()
    assert len(conversation) == 0


def test_a_picture_that_is_not_there_leaves_the_conversation_alone() -> None:
    conversation = Conversation()
    with pytest.raises(NotAPicture):
        conversation.ask([Picture("/nowhere.png"), Text("x")])
    assert len(conversation) == 0


def test_controls_travel_in_the_words_of_each_route() -> None:
    controls = Controls(max_tokens=7, temperature=0.5, seed=3, schema={"type": "object"})
    chat = talk().chat(controls)
    assert (chat["max_tokens"], chat["temperature"], chat["seed"]) == (7, 0.5, 3)
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}
    parameters = talk().plain(controls)["parameters"]
    assert parameters["grammar"] == {"type": "json", "value": {"type": "object"}}
    assert (parameters["max_new_tokens"], parameters["seed"]) == (7, 3)
    assert (parameters["temperature"], parameters["do_sample"]) == (0.5, True)
    assert "temperature" not in talk().plain(Controls())["parameters"]


def test_without_a_template_the_texts_follow_each_other() -> None:
    inputs = talk().plain(Controls())["inputs"]
    assert inputs == f"![]({URL})What is it?\n\na star\n\nWhich color?\n\n"


def test_a_schema_is_read_bare_or_as_tgi_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    for text in ('{"type": "integer"}', '{"type": "json", "value": {"type": "integer"}}'):
        file.write_text(text)
        assert read_schema(file) == {"type": "integer"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"type": }', r"is no JSON: Expecting value \(line 1, column 10\)"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1]", "must be a JSON object. Given: list"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_schema_is_said(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "s.json"
    file.write_bytes(data)
    with pytest.raises(BadSchema, match=words):
        read_schema(file)
    with pytest.raises(BadSchema, match="cannot be read: No such file"):
        read_schema(tmp_path / "none.json")
