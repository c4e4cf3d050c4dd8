"""A constraint as backends get it: checked, and in one of three languages."""

from dataclasses import dataclass
from typing import Literal

from inlay_grammars.options import Whitespace

Language = Literal["json", "regex", "lark"]


@dataclass(frozen=True, slots=True)
class Source:
    """What a backend compiles."""

    language: Language
    """`json`: `text` is a JSON schema. `regex`: Rust's syntax, with ASCII classes. `lark`:
    llguidance's dialect of Lark."""
    text: str
    whitespace: Whitespace = "flexible"
    is_strict: bool = True
    """Whether what cannot be enforced is refused. If not, the backend does what it can."""
