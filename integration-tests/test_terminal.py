"""`inlay chat` and `inlay ask`, as a person and a script use them."""

import json
import subprocess
import sys
from pathlib import Path

from harness import EXAMPLES, Server
from keyboard import CTRL_C, CTRL_D, at_terminal

QUESTION = "What is this a picture of?"
ANSWER = "a red circle and two blue squares"


def test_a_conversation(server: Server, tmp_path: Path) -> None:
    picture = tmp_path / "my picture.png"
    picture.write_bytes((EXAMPLES / "shapes.png").read_bytes())
    schema = tmp_path / "endless.json"
    schema.write_text(json.dumps({"type": "string", "minLength": 3500}))
    with at_terminal("chat", "--url", server.url) as keyboard:
        assert "inlay/embedded is here" in keyboard.until("> ")
        keyboard.enter(f"'{picture}' {QUESTION}")
        assert keyboard.until("> ") == f"{ANSWER}\n> "
        keyboard.enter("How many squares are there?")
        assert keyboard.until("> ") == "2\n> "
        keyboard.enter(f"/json {schema}")
        keyboard.until("> ")
        keyboard.enter("Tell me a story.")
        keyboard.until('".{20}')  # while the rest is on its way
        keyboard.type(CTRL_C)
        keyboard.until(r"\(stopped\)\n> ")
        keyboard.enter("/json off")
        keyboard.until("> ")
        keyboard.enter("/reset")
        keyboard.until("> ")
        keyboard.enter("Hello!")
        assert keyboard.until("> ").startswith("Hello!")
        keyboard.type(CTRL_D)
        assert keyboard.process.wait(timeout=30) == 0


def ask(*words: str, question: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inlay.cli", "ask", *words]
    return subprocess.run(command, input=question, capture_output=True, text=True, timeout=60)


def test_a_script_asks_through_a_pipe(server: Server) -> None:
    pictures = [str(EXAMPLES / name) for name in ("shapes.png", "star.jpg")]
    done = ask(*pictures, "-", "--url", server.url, question="Describe each image.\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "first, a red circle and two blue squares; second, a yellow star\n"


def test_a_script_gets_json(server: Server) -> None:
    schema = str(EXAMPLES / "scene-grammar.json")
    picture = str(EXAMPLES / "shapes.png")
    question = "Extract the objects as JSON."
    done = ask(picture, question, "--json", "--schema", schema, "--url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["answer"]["count"] == 3


def test_a_refusal_is_a_sentence_and_an_exit_code(server: Server) -> None:
    done = ask("x", "--max-tokens", "100000", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "`inputs` tokens + `max_tokens` must be <= 4096" in done.stderr
