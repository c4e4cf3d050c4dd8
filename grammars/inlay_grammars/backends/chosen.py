"""Which backend compiles a grammar: the chosen one, or llguidance where that one would not do.

llguidance is the choice for every kind of grammar: it compiles in a millisecond, and refuses what
it does not enforce. The others ignore much of JSON Schema. They are asked only for what they are
known to enforce; what they refuse goes to llguidance, too, and what llguidance refuses is refused.
"""

import json
from threading import Lock

from inlay_grammars.backends.interface import Backend, Template
from inlay_grammars.backends.llguidance import LLGuidance
from inlay_grammars.backends.tokens import ModelTokens, TokenTable
from inlay_grammars.options import BackendChoice, BackendName
from inlay_grammars.regexes import is_plain_regex
from inlay_grammars.schemas.enforcement import not_enforced
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError


class Backends:
    """The backends of one model; all but llguidance are made when first used. For any thread."""

    def __init__(self, tokens: ModelTokens) -> None:
        """Takes what `LLGuidance` takes.

        Raises:
            UnsupportedTokenizer: as `LLGuidance`.
        """
        self._tokens = tokens
        self._llguidance = LLGuidance(tokens)
        self._made: dict[BackendName, Backend] = {"llguidance": self._llguidance}
        self._lock = Lock()

    def compile(self, source: Source, choice: BackendChoice) -> tuple[Template, BackendName]:
        """A template, and the backend that made it.

        Raises:
            GrammarError: llguidance refuses it.
            ImportError: the chosen backend is not installed.
        """
        name: BackendName = "llguidance" if choice == "auto" else choice
        if name != "llguidance" and is_enforced(source, name):
            try:
                return self.get(name).compile(source), name
            except GrammarError:
                pass  # llguidance may do better, and explains itself better
        return self._llguidance.compile(source), "llguidance"

    def get(self, name: BackendName) -> Backend:
        """A backend, made now if it is not there yet. Raises ImportError if it is not installed."""
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def _make(self, name: BackendName) -> Backend:
        table = TokenTable(self._tokens, self._llguidance.llg_tokenizer)
        if name == "xgrammar":
            from inlay_grammars.backends.xgrammar import XGrammar

            return XGrammar(table)
        from inlay_grammars.backends.outlines_core import OutlinesCore

        return OutlinesCore(table, self._llguidance)


def is_enforced(source: Source, name: BackendName) -> bool:
    """Whether a backend enforces every part of a grammar, or at least says so where it does not."""
    if name == "llguidance":
        return True
    if not source.is_strict or source.language == "lark":
        return False
    if source.language == "json":
        if name == "outlines_core" and source.whitespace == "pretty":
            return False  # it has one pattern for all places
        return next(not_enforced(json.loads(source.text), name), None) is None
    return name == "outlines_core" or is_plain_regex(source.text)
