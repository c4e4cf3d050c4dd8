import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inlay import cli
from inlay.terminal.errors import NoTemplate, Refused, TerminalError, Unreachable, refusal
from inlay.terminal.server import Server
from inlay.terminal.source import Ended
from inlay_proto import generate_pb2 as pb
from inlay_router.chat.templates import ChatTemplates
from inlay_router.errors import TemplateError
from inlay_router.links.scripted_shard import scripted_facts
from inlay_router.text.tokenizer import Tokenizer

MODELS = {"data": [{"id": "a-model"}]}
STAR = Path(__file__).parents[2] / "examples" / "star.jpg"


@dataclass
class Fake:
    """An HTTP server that answers as a test says."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """By path: status, and body."""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Path, headers and body of each POST."""


@pytest.fixture
def fake() -> Iterator[Fake]:
    fake = Fake(answers={"/v1/models": (200, json.dumps(MODELS).encode())})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            fake.asked.append((self.path, dict(self.headers), json.loads(body)))
            self._answer()

        def _answer(self) -> None:
            status, body = fake.answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield fake
        server.shutdown()
        thread.join()


def events(*bodies: Any) -> tuple[int, bytes]:
    """A stream."""
    frames = (b"data: %b\n\n" % json.dumps(body).encode() for body in bodies)
    return 200, b":\n\n" + b"".join(frames)


def delta(text: str | None, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


def chatting(fake: Fake, *bodies: Any) -> None:
    status, frames = events(*bodies)
    fake.answers["/v1/chat/completions"] = (status, frames + b"data: [DONE]\n\n")


def test_a_chat_is_read_piece_by_piece(fake: Fake) -> None:
    chatting(fake, delta("a "), delta("star", "length"), USAGE)
    server = Server(f"{fake.url}/v1/", "key")
    assert repr(server) == f"Server('{fake.url}', 'a-model')"
    assert list(server.chat({"messages": []})) == [
        "a ",
        "star",
        Ended(finish_reason="length", num_prompt_tokens=9, num_answer_tokens=2),
    ]
    ((path, headers, body),) = fake.asked
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer key"
    assert body == {"model": "a-model", "messages": []}


def test_plain_text_is_read_without_special_tokens(fake: Fake) -> None:
    details = {"finish_reason": "eos_token", "generated_tokens": 2, "input_length": 5}
    fake.answers["/generate_stream"] = events(
        {"token": {"text": "star", "special": False}, "details": None},
        {"token": {"text": "</s>", "special": True}, "details": details},
    )
    assert list(Server(fake.url).plain({"inputs": "x"})) == [
        "star",
        Ended(finish_reason="stop", num_prompt_tokens=5, num_answer_tokens=2),
    ]


def refusing(status: int, body: Any) -> tuple[int, bytes]:
    return status, body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusing(422, {"error": "Input validation error: too long"}), Refused, "^too long$"),
        (refusing(422, {"error": "Template error: template not found"}), NoTemplate, "template"),
        (refusing(400, {"error": {"message": "odd", "type": "x"}}), Refused, "^odd$"),
        (refusing(502, b"<html>"), Refused, "answered 502 Bad Gateway"),
        (refusing(401, {"error": "x"}), Refused, "wants its API key: --api-key KEY"),
        (refusing(404, {"error": "x"}), Unreachable, "is no inlay server"),
        (events({"error": {"message": "broken"}}), Refused, "^broken$"),
    ],
)
def test_errors_are_words(
    fake: Fake, answer: tuple[int, bytes], kind: type[Exception], words: str
) -> None:
    server = Server(fake.url)
    fake.answers["/v1/chat/completions"] = answer
    with pytest.raises(kind, match=words):
        list(server.chat({}))


def test_what_is_no_inlay_server_is_said(fake: Fake) -> None:
    for answer in (b"<html>", b"[]", b'{"data": []}'):
        fake.answers["/v1/models"] = (200, answer)
        with pytest.raises(Unreachable, match="is no inlay server"):
            Server(fake.url)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "file:///x"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(TerminalError, match="--url must look like"):
        Server(url)


def test_no_server_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens to nobody
        with pytest.raises(Unreachable, match="no server answers at .* `inlay serve` starts one"):
            Server(f"127.0.0.1:{taken.getsockname()[1]}")


def test_a_server_that_goes_away_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unreachable, match="the connection to .* broke"):
            Server(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = cli.main(words, {})
    out, err = capsys.readouterr()
    return code, out, err


def test_ask_prints_the_answer_and_nothing_else(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    chatting(fake, delta("a "), delta("star", "stop"), USAGE)
    words = ("ask", str(STAR), "--url", fake.url, "--max-tokens", "5", "What is it?")
    assert run(capsys, *words) == (0, "a star\n", "")
    body = fake.asked[0][2]
    image, text = body["messages"][0]["content"]
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert text["text"] == "What is it?"
    assert body["max_tokens"] == 5


def test_ask_reports_as_json(
    fake: Fake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object"}')
    chatting(fake, delta('{"a": 1}', "stop"), USAGE)
    words = ("ask", "x", "--json", "--url", fake.url, "--schema", str(schema))
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "answer": {"a": 1},
        "finish_reason": "stop",
        "prompt_tokens": 9,
        "answer_tokens": 2,
    }


def test_ask_says_that_an_answer_was_cut(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    chatting(fake, delta("x", "length"), USAGE)
    code, out, err = run(capsys, "ask", "x", "--url", fake.url)
    assert (code, out, err) == (0, "x\n", "inlay ask: the answer was cut at 2 tokens\n")


def test_ask_goes_on_without_a_template(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {"error": "Template error: template not found"}
    fake.answers["/v1/chat/completions"] = refusing(422, refused)
    details = {"finish_reason": "length", "generated_tokens": 1, "input_length": 1}
    fake.answers["/generate_stream"] = events(
        {"token": {"text": "so", "special": False}, "details": details}
    )
    code, out, err = run(capsys, "ask", "x", "--url", fake.url)
    assert (code, out) == (0, "so\n")
    assert "has no chat template" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.png", "x"], "there is no file nowhere.png"),
        ([" "], "the question is empty"),
        (["x", "--schema", "none.json"], "the schema none.json cannot be read"),
    ],
)
def test_ask_without_an_answer(
    fake: Fake, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, out, err = run(capsys, "ask", *words, "--url", fake.url)
    assert (code, out) == (1, "")
    assert err.startswith(f"inlay ask: {said}")


@pytest.mark.parametrize("words", [[], ["x", "--nonsense"], ["x", "--temperature", "-1"]])
def test_a_wrong_command_line_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["ask", *words], {})
    assert end.value.code == 2
    assert capsys.readouterr().out == ""


def test_words_behind_an_option_are_no_models() -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["chat", "a", "--seed", "1", "b"], {})
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--api-key", "k"], "--api-key is for a server: it needs --url"),
        (["./model", "--url", "x"], "a model is for this process: the server at --url has its own"),
        (["--dtype", "float32", "--url", "x"], "--dtype is for this process"),
        (["--chat-template", "nonsense"], "--chat-template must be one of base, vicuna"),
    ],
)
def test_options_without_effect_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, out, err = run(capsys, "chat", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_the_routers_words_for_no_template_are_known() -> None:
    templates = ChatTemplates(pb.ModelFacts(), Tokenizer(scripted_facts().tokenizer_json))
    with pytest.raises(TemplateError) as error:
        templates.style(has_tools=False)
    assert isinstance(refusal(str(error.value)), NoTemplate)


def test_chat_says_why_it_cannot_begin(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "chat", "--url", "ftp://x")
    assert (code, out) == (1, "")
    assert err.startswith("inlay chat: --url must look like")
