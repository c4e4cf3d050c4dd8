"""What docs/security.md and docs/operations.md promise names a test that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("router/tests", "shard/tests", "grammars/tests", "front/tests", "integration-tests")


@pytest.mark.parametrize("document", ["security.md", "operations.md"])
def test_every_test_that_is_named_is_there(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    there = {path.stem for folder in FOLDERS for path in (ROOT / folder).glob("test_*.py")}
    assert len(named) > 10
    assert named <= there


def test_every_fault_and_every_bound_names_its_test() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    tables = text.split("## Faults")[1].split("**Clients take turns")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ")]
    bare = [row for row in rows if "`test_" not in row and not row.endswith("| test |")]
    assert len(rows) > 20
    assert bare == []
