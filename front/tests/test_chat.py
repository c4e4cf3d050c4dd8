from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inlay.terminal.chat import Chat
from inlay.terminal.conversation import Body, Controls
from inlay.terminal.errors import NoTemplate, Refused
from inlay.terminal.source import Ended, Pieces

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Scripted:
    """A source that says what a test put into it."""

    answers: list[list[str | BaseException]] = field(default_factory=list)
    """One a request: texts, or what is raised at this place."""
    finish_reason: str = "stop"
    bodies: list[Body] = field(default_factory=list)
    """As they came."""
    model_id: str = "scripted"
    num_stopped: int = 0

    def chat(self, body: Body) -> Pieces:
        self.bodies.append({**body, "messages": list(body["messages"])})
        return self._pieces()

    def plain(self, body: Body) -> Pieces:
        self.bodies.append(body)
        return self._pieces()

    def _pieces(self) -> Pieces:
        answer = self.answers.pop(0)
        try:
            for piece in answer:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        except (GeneratorExit, KeyboardInterrupt):
            self.num_stopped += 1
            raise
        yield Ended(finish_reason=self.finish_reason, num_prompt_tokens=1, num_answer_tokens=2)

    def close(self) -> None:
        pass


def typing(*lines: str | BaseException) -> Callable[[str], str]:
    """A person who types these lines, and then leaves."""
    left: Iterator[str | BaseException] = iter((*lines, EOFError()))

    def read(prompt: str) -> str:
        line = next(left)
        if isinstance(line, BaseException):
            raise line
        return line

    return read


def shown(source: Scripted, *lines: str | BaseException) -> str:
    """Everything that a chat prints."""
    pieces: list[str] = []
    Chat(source, Controls(), print_piece=pieces.append).run(typing(*lines))
    return "".join(pieces)


def test_a_conversation_remembers_its_turns() -> None:
    source = Scripted([["a ", "star"], ["red"]])
    assert shown(source, "What is it?", "Which color?") == "a star\nred\n\n"
    assert [message["role"] for message in source.bodies[1]["messages"]] == [
        "user",
        "assistant",
        "user",
    ]
    assert source.bodies[1]["messages"][1]["content"] == "a star"


def test_a_picture_alone_waits_for_its_question(tmp_path: Path) -> None:
    file = tmp_path / "a b.png"
    file.write_bytes(PNG)
    source = Scripted([["x"], ["y"]])
    said = shown(source, f"'{file}'", f"/image {file}", "What?", "And now?")
    assert "(1 picture for your next question)" in said
    assert "(2 pictures for your next question)" in said
    asked, later = (body["messages"][-1]["content"] for body in source.bodies)
    assert [part["type"] for part in asked] == ["image_url", "image_url", "text"]
    assert [part["type"] for part in later] == ["text"]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said() -> None:
    source = Scripted([["half"], ["more"]])
    source.answers[0].append(KeyboardInterrupt())
    assert shown(source, "Tell me.", "Go on.").startswith("half (stopped)\nmore")
    assert source.num_stopped == 1
    assert source.bodies[1]["messages"][1]["content"] == "half"


def test_ctrl_c_before_the_first_word_takes_the_question_back(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    source = Scripted([[KeyboardInterrupt()], ["fine"]])
    shown(source, str(file), "Tell me.", "Anew.")
    (message,) = source.bodies[1]["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]


def test_ctrl_c_at_the_prompt_says_how_to_leave() -> None:
    assert "(Ctrl-D leaves)" in shown(Scripted(), KeyboardInterrupt())


def test_an_error_is_words_and_the_chat_goes_on() -> None:
    source = Scripted([[Refused("too long")], ["fine"]])
    assert shown(source, "x", "y") == "(too long)\nfine\n\n"
    assert len(source.bodies[1]["messages"]) == 1


def test_an_error_behind_a_text_begins_a_line() -> None:
    source = Scripted([["so", Refused("broken")]])
    assert shown(source, "x") == "so\n(broken)\n\n"


def test_a_schema_holds_until_it_is_let_go(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text('{"type": "integer"}')
    source = Scripted([["1"], ["one"]])
    said = shown(source, f"/json {file}", "x", "/json off", "y", "/json")
    assert "/json needs the path of a schema, or off" in said
    first, second = source.bodies
    assert first["response_format"]["json_schema"]["schema"] == {"type": "integer"}
    assert "response_format" not in second


def test_a_reset_forgets_turns_and_pictures(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    source = Scripted([["x"], ["y"]])
    shown(source, "one", f"/image {file}", "/reset", "two")
    assert source.bodies[1]["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "two"}]}
    ]


def test_without_a_template_the_chat_goes_on_from_plain_text() -> None:
    source = Scripted([[NoTemplate("none")], ["a"], ["b"]])
    said = shown(source, "one", "two")
    assert said == "(the model has no chat template: it goes on from plain text)\na\nb\n\n"
    assert source.bodies[2]["inputs"] == "one\n\na\n\ntwo\n\n"


def test_a_picture_that_is_not_there_is_taken_as_text_and_said() -> None:
    said = shown(Scripted([["x"]]), "nothing.png what?")
    assert said == "(there is no file nothing.png: it is taken as text)\nx\n\n"


def test_an_answer_that_was_cut_says_so() -> None:
    assert "(cut at 2 tokens)" in shown(Scripted([["x"]], finish_reason="length"), "x")


def test_other_lines(tmp_path: Path) -> None:
    file = tmp_path / "fake.png"
    file.write_text("words")
    source = Scripted()
    said = shown(source, "", "/help", "/image", "/nonsense x", str(file), "/quit", "never")
    assert "/image PATH" in said
    assert "/image needs a path or an address" in said
    assert "there is no command /nonsense" in said
    assert "is no picture" in said
    assert source.bodies == []
