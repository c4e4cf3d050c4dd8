"""The `inlay` command."""

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from inlay import __version__, serve, tgi_flags
from inlay.environment import environment
from inlay.launcher import report
from inlay.terminal import ask_command, chat_command
from inlay_router.telemetry.logs import set_up_logging

DESCRIPTION = """\
inlay: a streaming generation server for vision-language and text models.
It speaks the HTTP API of text-generation-inference."""

SERVE_DESCRIPTION = """\
Serve MODEL over HTTP. Without MODEL, a small vision-language model that ships with inlay.

  inlay serve
  inlay serve HuggingFaceTB/SmolVLM-256M-Instruct --port 8080
  inlay serve ./a/local/folder --num-shard 2

Flags of TGI's launcher and its environment variables (MODEL_ID, NUM_SHARD, MAX_TOTAL_TOKENS, …)
are taken too: docs/tgi-compatibility.md lists them. A flag wins over a variable."""


def main(argv: Sequence[str] | None = None, variables: Mapping[str, str] = os.environ) -> int:
    """Run the command line; the exit code. TGI's variables among `variables` stand for flags."""
    options = parse(sys.argv[1:] if argv is None else argv, variables)
    if options.command is None:
        _parsers()[0].print_help()
        return 2
    if options.command == "chat":
        return chat_command.chat(options)
    if options.command == "ask":
        return ask_command.ask(options)
    if options.env:
        print(environment())
        return 0
    set_up_logging("inlay", is_json=options.has_json_logs)
    logging.getLogger("inlay").setLevel(logging.INFO)
    for line in tgi_flags.ignored(options, variables):
        report(line)
    return serve.serve(options)


def parse(argv: Sequence[str], variables: Mapping[str, str]) -> argparse.Namespace:
    """What a command line says, `command` among it. Ends the process when it is wrong."""
    words, borrowed = list(argv), list[str]()
    if words[:1] == ["serve"]:
        borrowed = tgi_flags.from_environment(variables, words)
        words[1:1] = borrowed
    parser, commands = _parsers()
    with _naming_variables(borrowed):
        options, others = parser.parse_known_args(words)
    if others and not ask_command.takes(options, others):
        _refuse(commands.get(options.command, parser), others)
    return options


@contextmanager
def _naming_variables(borrowed: Sequence[str]) -> Iterator[None]:
    """Where the command line is refused, say which of its flags are variables, that nobody typed.

    Only their names, as one may be a key.
    """
    try:
        yield
    except SystemExit as end:
        if end.code and borrowed:
            flags = [word.removeprefix("--").partition("=")[0] for word in borrowed]
            names = ", ".join(map(tgi_flags.variable_of, flags))
            print(f"from the environment: {names}", file=sys.stderr)
        raise


def _refuse(parser: argparse.ArgumentParser, words: Sequence[str]) -> NoReturn:
    """End the process with the words that a command does not know, and the nearest that it does."""
    known = [flag for flag in parser.format_help().split() if flag.startswith("--")]
    typed = [word.partition("=")[0] for word in words if word.startswith("--")]
    near = [found for flag in typed for found in difflib.get_close_matches(flag, known, 1, 0.75)]
    hint = f" (is it {' and '.join(near)}?)" if near else ""
    parser.error(f"unrecognized arguments: {' '.join(words)}{hint}")


def _parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The whole command line, and those of its commands by their names."""
    parser = argparse.ArgumentParser(
        prog="inlay", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"inlay {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    server = _command(commands, "serve", "serve a model over HTTP", SERVE_DESCRIPTION)
    serve.add_arguments(server)
    server.add_argument(
        "-e", "--env", action="store_true", help="say what this machine has, and exit"
    )
    talk = "talk with a model in the terminal, pictures included"
    chat_command.add_arguments(_command(commands, "chat", talk, chat_command.DESCRIPTION))
    ask = "ask one question, for scripts"
    ask_command.add_arguments(
        _command(commands, "ask", ask, ask_command.DESCRIPTION, words='[IMAGE ...] "QUESTION"')
    )
    return parser, commands.choices


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    description: str,
    *,
    words: str = "[MODEL]",
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        usage=f"inlay {name} {words} [options]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
