"""The `inlay` command."""

import argparse
import sys
from collections.abc import Sequence

from inlay import __version__, serve

DESCRIPTION = """\
inlay: a streaming generation server for vision-language and text models.
It speaks the HTTP API of text-generation-inference."""

SERVE_DESCRIPTION = """\
Serve MODEL over HTTP. Without MODEL, a small vision-language model that ships with inlay.

  inlay serve
  inlay serve HuggingFaceTB/SmolVLM-256M-Instruct --port 8080
  inlay serve ./a/local/folder --num-shard 2"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="inlay", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"inlay {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    server = commands.add_parser(
        "serve",
        help="serve a model over HTTP",
        usage="inlay serve [MODEL] [options]",
        description=SERVE_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_arguments(server)
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help()
        return 2
    return serve.serve(options)


if __name__ == "__main__":
    sys.exit(main())
