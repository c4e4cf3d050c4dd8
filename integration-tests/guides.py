"""Reads the guides for those who come from another engine: their code, in its order."""

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

_CODE = re.compile(r"`([^`]+)`")
_CELLS = re.compile(r"(?<!\\)\|")


def code(page: str) -> Iterator[str]:
    """Python blocks, and what stands as code in the last column of tables."""
    lines = iter((DOCS / page).read_text().splitlines())
    for line in lines:
        if line == "```python":
            yield "\n".join(iter(lines.__next__, "```"))
        elif line.startswith("| "):
            *_, last, _ = _CELLS.split(line)
            yield from (found.replace("\\|", "|") for found in _CODE.findall(last))
