"""Makes `docs/tgi-compatibility.md` of its table: `python integration-tests/compatibility.py`."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inlay.tgi_flags import HONOURED, MEANINGLESS, variable_of

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "tgi-compatibility.toml"
HOUSES = ("front", "router", "shard", "grammars", "kernels", "integration-tests")
PAGE = ROOT / "docs" / "tgi-compatibility.md"
STATES = ("same", "better", "other", "refused", "no effect", "no meaning")
HEAD = """\
# Compatibility with text-generation-inference

What TGI 3.3.7 took and answered, and what inlay does: *same*; *better*, where TGI is wrong or
narrower; *other*, by another way; *refused* by name; *no effect*, taken because
clients send it; *no meaning* here. The last column names the test that proves a row.
[Differences and their reasons](tgi-differences.md) are told apart.

`make compatibility` makes this page of `docs/tgi-compatibility.toml` and of the command line.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One thing that TGI had."""

    group: str
    name: str
    state: str
    """One of STATES."""
    note: str
    test: str
    """`module::name`: the function `test_name` in the file `test_module.py`."""


def rows() -> Iterator[Row]:
    """The table, and behind it the flags as the command line knows them."""
    for group, members in tomllib.loads(TABLE.read_text()).items():
        for name, (state, note, test) in members.items():
            yield Row(group=group, name=name, state=state, note=note, test=test)
    flags = "Flags of the launcher, and variables"
    proof = "tgi_flags::variables_stand_for_flags"
    told = tomllib.loads(TABLE.read_text())[flags]
    for name in HONOURED:
        if _flag(name) not in told:
            yield Row(group=flags, name=_flag(name), state="same", note="", test=proof)
    proof = "tgi_flags::what_has_no_meaning_says_so_in_a_line"
    for flag in MEANINGLESS:
        note = f"said at start: {flag.reason}"
        yield Row(group=flags, name=_flag(flag.name), state="no meaning", note=note, test=proof)


def page() -> str:
    """The text of the page."""
    lines = [HEAD]
    group = ""
    for row in rows():
        if row.group != group:
            group = row.group
            lines += [f"\n## {group}\n", "| TGI | state | remark | test |", "|---|---|---|---|"]
        path, function = proof_of(row)
        test = f"[{function}](../{path.relative_to(ROOT)})"
        lines.append(f"| `{row.name}` | {row.state} | {row.note} | {test} |")
    return "\n".join(lines) + "\n"


def proof_of(row: Row) -> tuple[Path, str]:
    """The file and the function of a row's test. Raises LookupError when there is no such test."""
    module, _, name = row.test.partition("::")
    found = [path for house in HOUSES for path in (ROOT / house).rglob(f"test_{module}.py")]
    if len(found) != 1:
        raise LookupError(f"{row.name}: there is no one file test_{module}.py")
    functions = {
        node.name
        for node in ast.parse(found[0].read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    if f"test_{name}" not in functions:
        raise LookupError(f"{row.name}: there is no test_{name} in {found[0].name}")
    return found[0], f"test_{name}"


def _flag(name: str) -> str:
    return f"--{name}, {variable_of(name)}"


if __name__ == "__main__":
    PAGE.write_text(page())
