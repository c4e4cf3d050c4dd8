"""`inlay ask`: one question, its answer on standard output, for scripts."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from inlay.terminal import options as source_options
from inlay.terminal import pictures
from inlay.terminal.conversation import Controls, Conversation
from inlay.terminal.errors import NoTemplate, TerminalError, WrongUsage
from inlay.terminal.source import Ended, Pieces, Source
from inlay.terminal.typed_line import Picture, Text

DESCRIPTION = """\
Ask one question, about pictures or without. The answer goes to standard output, all else to
standard error; the exit code is 0, or 1 when there is no answer, or 2 for a wrong command line.

  inlay ask shapes.png "How many objects are there?"
  inlay ask --schema scene.json shapes.png "Extract the objects as JSON." | jq .count
  inlay ask before.png after.png "What changed?" --url http://127.0.0.1:3000
  echo "Hello!" | inlay ask -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `inlay ask` takes."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="QUESTION",
        help="the last word, behind files or addresses of pictures; - reads standard input",
    )
    parser.add_argument(
        "--json",
        dest="is_json",
        action="store_true",
        help="print an object with the answer, why it ended, and numbers of tokens",
    )
    source_options.add_arguments(parser)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a folder, or a hub id, to run in this process (default: the one that ships here)",
    )


def takes(options: argparse.Namespace, others: Sequence[str]) -> bool:
    """Take words that stand behind an option, which argparse leaves over; False for no words."""
    if options.command != "ask" or any(word.startswith("--") for word in others):
        return False
    options.words += others
    return True


def ask(options: argparse.Namespace) -> int:
    """Answer the question; the exit code."""
    try:
        controls = source_options.controls(options)
        conversation = _conversation(options)
        with closing(source_options.open_source(options)) as source:
            _answer(source, conversation, controls, options)
    except TerminalError as error:
        _note(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _conversation(options: argparse.Namespace) -> Conversation:
    *names, question = options.words
    if question == "-":
        question = sys.stdin.read()
    if not question.strip():
        raise TerminalError("the question is empty")
    if pictures.has_suffix(question) and Path(question).is_file():
        raise WrongUsage(f"there is no question behind the picture {question}")
    conversation = Conversation()
    conversation.ask([*map(Picture, names), Text(question.strip())])
    return conversation


def _answer(
    source: Source, conversation: Conversation, controls: Controls, options: argparse.Namespace
) -> None:
    """Scripts get whole answers or none; a person may watch."""
    is_watched = sys.stdout.isatty() and not options.is_json
    texts: list[str] = []
    ended = Ended(finish_reason="stop", num_prompt_tokens=0, num_answer_tokens=0)
    for piece in _pieces(source, conversation, controls):
        if isinstance(piece, str):
            texts.append(piece)
            if is_watched:
                print(piece, end="", flush=True)
        else:
            ended = piece
    text = "".join(texts)
    if options.is_json:
        print(json.dumps(_report(text, ended, controls), ensure_ascii=False))
    else:
        print("" if is_watched else text)
    if ended.finish_reason == "length":
        _note(f"the answer was cut at {ended.num_answer_tokens} tokens")


def _pieces(source: Source, conversation: Conversation, controls: Controls) -> Pieces:
    try:
        yield from source.chat(conversation.chat(controls))
        return
    except NoTemplate:
        _note("the model has no chat template: it gets the question as plain text")
    yield from source.plain(conversation.plain(controls))


def _report(text: str, ended: Ended, controls: Controls) -> dict[str, Any]:
    """With a schema the answer is JSON itself, unless it was cut in the middle."""
    answer: Any = text
    if controls.schema is not None:
        with suppress(ValueError):
            answer = json.loads(text)
    return {
        "answer": answer,
        "finish_reason": ended.finish_reason,
        "prompt_tokens": ended.num_prompt_tokens,
        "answer_tokens": ended.num_answer_tokens,
    }


def _note(words: str) -> None:
    print(f"inlay ask: {words}", file=sys.stderr)
