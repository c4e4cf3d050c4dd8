"""JSON schemas with instances that are known to be valid or not."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from inlay_bench.batch import BenchFailed

COMMITTED = Path(__file__).parents[2] / "grammar_schemas" / "json-schema-test-suite"
"""A sample of a public collection; its licence stands beside it."""
GROUP_SEPARATOR = "---"
"""Between the collection and the name, in file names of MaskBench."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One schema."""

    name: str
    group: str
    """The collection that it is from."""
    schema: str
    """JSON."""
    instances: tuple[str, ...]
    """JSON, written as models write it: one line, a space behind `,` and `:`."""
    are_valid: tuple[bool, ...]
    """Of each instance."""


def read_collection(folder: Path) -> list[Case]:
    """Every `*.json` below `folder`: schemas with tests, or lists of such.

    Both are understood: the files of MaskBench (one schema each) and those of the JSON Schema Test
    Suite (a list each). Raises BenchFailed when there is none.
    """
    paths = sorted(folder.rglob("*.json"))
    cases = [case for path in paths for case in _read_file(path, folder)]
    if not cases:
        raise BenchFailed(f"no JSON schema is in {folder}")
    return cases


def _read_file(path: Path, folder: Path) -> Iterator[Case]:
    document = json.loads(path.read_text(encoding="utf-8"))
    entries = document if isinstance(document, list) else [document]
    name = str(path.relative_to(folder).with_suffix(""))
    group = name.split(GROUP_SEPARATOR)[0] if GROUP_SEPARATOR in name else folder.name
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and "schema" in entry:
            yield make_case(f"{name}/{index}", group, entry["schema"], _tests(entry))


def _tests(entry: dict[str, Any]) -> list[tuple[object, bool]]:
    return [(test["data"], test["valid"]) for test in entry.get("tests", ())]


def make_case(name: str, group: str, schema: object, tests: Sequence[tuple[object, bool]]) -> Case:
    """Of a parsed schema, and of instances beside whether they are valid."""
    return Case(
        name=name,
        group=group,
        schema=json.dumps(schema),
        instances=tuple(write_instance(data) for data, _ in tests),
        are_valid=tuple(is_valid for _, is_valid in tests),
    )


def write_instance(data: object) -> str:
    """As JSON with plain characters; with escapes where these are no Unicode text."""
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data)
    return text


def sample(cases: Sequence[Case], num_cases: int | None) -> list[Case]:
    """So many of them in an order that is random and always the same; None for all."""
    shuffled = list(cases)
    Random("schemas").shuffle(shuffled)
    return shuffled[:num_cases]
