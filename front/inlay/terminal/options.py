"""What `inlay chat` and `inlay ask` take alike: who answers, and how."""

import argparse
import os
from pathlib import Path

from inlay.pipelines.chat_templates import BUILTIN
from inlay.terminal.conversation import Controls
from inlay.terminal.errors import WrongUsage
from inlay.terminal.schema_file import read_schema
from inlay.terminal.source import Source
from inlay_router.flags.numbers import positive

API_KEY_VARIABLE = "INLAY_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything but the model, which each command takes at its own place."""
    who = parser.add_argument_group("who answers")
    who.add_argument(
        "--url", help="a running server, such as http://127.0.0.1:3000 (default: this process)"
    )
    who.add_argument(
        "--api-key", metavar="KEY", help=f"what that server asks for (default: ${API_KEY_VARIABLE})"
    )
    here = parser.add_argument_group("a model in this process")
    here.add_argument("--revision", help="branch, tag or commit of the hub repository")
    here.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="type of weights and computation (auto: as stored)",
    )
    here.add_argument(
        "--chat-template",
        metavar="NAME",
        help="for a model that carries none, or instead of its own: "
        f"{', '.join(BUILTIN)}, or a file of Jinja",
    )
    how = parser.add_argument_group("how it answers")
    how.add_argument("--max-tokens", type=positive, metavar="N", help="longest answer, in tokens")
    how.add_argument(
        "--temperature",
        type=temperature,
        default=0.0,
        metavar="T",
        help="how freely tokens are drawn (0: the likeliest each time)",
    )
    how.add_argument(
        "--seed", type=int, metavar="N", help="of the draws, for the same answer again"
    )
    how.add_argument(
        "--schema", type=Path, metavar="FILE", help="JSON schema that answers are held to"
    )


def controls(options: argparse.Namespace) -> Controls:
    """As the options say. Raises BadSchema."""
    return Controls(
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
        schema=None if options.schema is None else read_schema(options.schema),
    )


def open_source(options: argparse.Namespace) -> Source:
    """Who answers: the server at `--url`, else the model in this process. Raises TerminalErrors."""
    _check_consistent(options)
    # Only one of them is needed, and the engine takes seconds to import.
    if options.url is not None:
        from inlay.terminal.server import Server

        key = options.api_key or os.environ.get(API_KEY_VARIABLE) or None
        return Server(options.url, key)
    from inlay.offline.engine_options import EngineOptions
    from inlay.terminal.in_process import InProcess

    return InProcess(
        EngineOptions(
            model=options.model,
            revision=options.revision,
            dtype=options.dtype or "auto",
            chat_template=_chat_template(options.chat_template),
        )
    )


def _check_consistent(options: argparse.Namespace) -> None:
    """Nothing is given that would be without effect. Raises WrongUsage."""
    if options.url is None:
        if options.api_key is not None:
            raise WrongUsage("--api-key is for a server: it needs --url")
        return
    given = {
        "a model": options.model,
        "--revision": options.revision,
        "--dtype": options.dtype,
        "--chat-template": options.chat_template,
    }
    for name, value in given.items():
        if value is not None:
            raise WrongUsage(f"{name} is for this process: the server at --url has its own")


def _chat_template(name: str | None) -> str | None:
    """The Jinja of a built-in template, or in a file. Raises WrongUsage."""
    if name is None:
        return None
    if name in BUILTIN:
        return BUILTIN[name].to_jinja()
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        names = ", ".join(BUILTIN)
        raise WrongUsage(
            f"--chat-template must be one of {names}, or a file. Given: {name}"
        ) from None


def temperature(text: str) -> float:
    number = float(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"must be at least 0. Given: {text}")
    return number
