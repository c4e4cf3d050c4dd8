"""Makes a virtual environment for each peer, once."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from inlay_bench.peers.recipe import Recipe

NUM_LINES_OF_REASON = 3


class PeerUnavailable(Exception):
    """A peer cannot be measured here; the message says why."""


def python_of(recipe: Recipe, folder: Path) -> Path:
    """The interpreter of an engine; its environment is made when it is missing.

    Raises PeerUnavailable.
    """
    if not recipe.packages:
        return Path(sys.executable)
    home = (folder / recipe.name).absolute()
    python, marker = home / "bin" / "python", home / "installed"
    wanted = "\n".join((*recipe.packages, *(f"no {name}" for name in recipe.removed)))
    if not marker.exists() or marker.read_text() != wanted:
        install(recipe, home, python)
        marker.write_text(wanted)
    return python


def install(recipe: Recipe, home: Path, python: Path) -> None:
    """A virtual environment with the packages. Raises PeerUnavailable."""
    run([sys.executable, "-m", "venv", str(home)])
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--prefer-binary", *recipe.packages])
    if recipe.removed:
        run([*pip, "uninstall", "--quiet", "--yes", *recipe.removed])


def run(command: Sequence[str], folder: Path | None = None) -> None:
    """Raises PeerUnavailable with the last words of a command that fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if folder is None:
        del environment["PYTHONPATH"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-NUM_LINES_OF_REASON:]
        raise PeerUnavailable(" / ".join(words) or f"{command[0]} ended with {done.returncode}")
