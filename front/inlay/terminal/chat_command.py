"""`inlay chat`: a conversation in the terminal, pictures included."""

import argparse
import sys
from contextlib import closing

from inlay.terminal import options as source_options
from inlay.terminal.chat import COMMANDS, Chat
from inlay.terminal.errors import TerminalError
from inlay.terminal.line_editor import LineEditor

DESCRIPTION = """\
Talk with MODEL in the terminal. Without MODEL, a small vision-language model that ships with
inlay. Drop a picture's file into the line to talk about it.

  inlay chat
  inlay chat HuggingFaceTB/SmolVLM-256M-Instruct
  inlay chat --url http://127.0.0.1:3000

Ctrl-C stops an answer, Ctrl-D leaves; /help says what else a line can be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `inlay chat` takes."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder, or a hub id, to run in this process (default: the one that ships here)",
    )
    source_options.add_arguments(parser)


def chat(options: argparse.Namespace) -> int:
    """Talk until the person leaves; the exit code."""
    try:
        controls = source_options.controls(options)
        with closing(source_options.open_source(options)) as source:
            print(f"{source.model_id} is here. /help says what you can type, Ctrl-D leaves.")
            Chat(source, controls, print_piece=_print_piece).run(LineEditor(COMMANDS).read)
    except TerminalError as error:
        print(f"inlay chat: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _print_piece(text: str) -> None:
    print(text, end="", flush=True)
