"""Every cell of the column *inlay* in docs/from-vllm.md does what it says."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import inlay
from inlay import LLM, cli
from inlay.llm import llm as llm_module
from inlay.offline.engine_options import EngineOptions

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "docs" / "from-vllm.md"
ROW = re.compile(r"^\| (?P<theirs>.+?) \| `(?P<ours>.+)` \|$")


def block() -> str:
    """The code in front of the tables."""
    _, code, _ = re.split("```python\n|```\n", GUIDE.read_text(encoding="utf-8"), maxsplit=2)
    return code


def cells() -> list[str]:
    """The code of the column *inlay*."""
    rows = (ROW.match(line) for line in GUIDE.read_text(encoding="utf-8").splitlines())
    return [row["ours"] for row in rows if row is not None]


def num_rows() -> int:
    """All rows of tables but their two first lines."""
    lines = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return len(lines) - 2 * lines.count("|---|---|")


class SharedEngine:
    """The engine that is loaded, whatever is asked for; closing it does nothing."""

    def __init__(self, engine: Any, options: EngineOptions) -> None:
        options.command_line()
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        """Others use it."""


@pytest.fixture
def names(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the guide says that the cells know; every LLM of theirs is the one model."""
    engine = llm._engine
    monkeypatch.setattr(llm_module, "OfflineEngine", lambda options: SharedEngine(engine, options))
    monkeypatch.chdir(ROOT)
    found: dict[str, Any] = {"__name__": "from_vllm"}
    exec(compile(block(), "from-vllm.md", "exec"), found)
    yield found
    for picture in (found["image"], found["other"]):
        picture.close()


def test_every_row_has_a_cell_to_run() -> None:
    assert len(cells()) == num_rows() > 50


def test_the_cells_run_from_top_to_bottom(names: dict[str, Any]) -> None:
    for cell in cells():
        if cell.startswith("inlay "):
            assert cli.parse(shlex.split(cell)[1:], {}).command == "serve"
            continue
        try:
            exec(compile(cell.replace("\\|", "|"), "from-vllm.md", "exec"), names)
        except Exception as error:
            raise AssertionError(f"`{cell}` does not run") from error


def test_the_names_for_programs_are_there() -> None:
    assert set(inlay.__all__) <= set(dir(inlay))
    for name in inlay.__all__:
        assert getattr(inlay, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        inlay.nothing  # noqa: B018
