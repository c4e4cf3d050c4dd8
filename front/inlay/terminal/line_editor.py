"""Reads lines as a person types them, with the keys that shells have."""

import glob
from collections.abc import Sequence
from pathlib import Path

try:
    import readline
except ImportError:  # a Python built without it still reads lines
    readline = None  # type: ignore[assignment]


class LineEditor:
    """Arrow keys, history within this run, and Tab for commands and files."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = commands
        if readline is not None:
            readline.set_completer_delims(" \t\n'\"")
            readline.set_completer(self._complete)
            readline.parse_and_bind("tab: complete")

    def read(self, prompt: str) -> str:
        """The next line. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""
        return input(prompt)

    def _complete(self, begun: str, state: int) -> str | None:
        found = completions(begun, self._commands)
        return found[state] if state < len(found) else None


def completions(begun: str, commands: Sequence[str]) -> list[str]:
    """What a word that begins so may become."""
    named = [f"{command} " for command in commands if begun and command.startswith(begun)]
    pattern = glob.escape(str(Path(begun).expanduser()) + ("/" if begun.endswith("/") else ""))
    files = (f"{path}/" if Path(path).is_dir() else path for path in glob.glob(f"{pattern}*"))
    return named + sorted(files)
