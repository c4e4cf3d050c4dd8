"""Outlines' own backend: a plain automaton over tokens, for JSON schemas and regexes.

A start and an end character, which no token writes, stand around every regex. Without them the
automaton of outlines_core 0.2.14 loses what may follow a text that is complete already (`ab(cd)?`
refuses `abcd`), and tries to match anew at every character, so that a bounded JSON string doubles
it with each unit of the bound. The end character also tells a complete answer from a dead end.
"""

import llguidance
from outlines.backends.outlines_core import OutlinesCoreBackend, OutlinesCoreLogitsProcessor
from outlines_core import Index, Vocabulary
from outlines_core.json_schema import build_regex_from_schema

from inlay_grammars.backends.llguidance import LLGuidance
from inlay_grammars.backends.outlines_core_state import OutlinesCoreTemplate
from inlay_grammars.backends.panics import is_panic
from inlay_grammars.backends.tokens import TokenTable
from inlay_grammars.bits import BITS, num_words
from inlay_grammars.options import Whitespace
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError
from inlay_grammars.whitespace import OPTIONAL_WHITESPACE

START, END = "\x01", "\x00"
MAX_REASON = 300

_WHITESPACE_PATTERNS: dict[Whitespace, str] = {"flexible": OPTIONAL_WHITESPACE, "compact": ""}


class OutlinesCore(OutlinesCoreBackend):
    """Three things differ from Outlines' own: tokens are bytes, so that those which are parts of
    characters can be used; special tokens are not text; every end token ends a grammar."""

    def __init__(self, table: TokenTable, llguidance: LLGuidance) -> None:
        """Takes about 0.4 s and 30 MB for 131,072 tokens.

        Args:
            table: what tokens write.
            llguidance: judges whether a regex is one by itself, without what we put around it.
        """
        self._llguidance = llguidance
        self._table = table
        first_id = num_words(table.vocab_size) * BITS  # a word of the mask that is cut off
        self._start_id, self._end_id, no_id = range(first_id, first_id + 3)
        texts: dict[bytes, list[int]] = {
            START.encode(): [self._start_id],
            END.encode(): [self._end_id],
        }
        for token_id, text in enumerate(table.texts):
            if text is not None and not {0, 1} & set(text):
                texts.setdefault(text, []).append(token_id)
        self.eos_token_id = no_id
        self.vocabulary = Vocabulary(no_id, texts)
        self.tensor_library_name = "numpy"

    def compile(self, source: Source) -> OutlinesCoreTemplate:
        """As `interface.Backend.compile`. Takes from milliseconds to minutes, and gigabytes."""
        try:
            processor = self._processor(source)
        except GrammarError:
            raise
        except BaseException as error:
            if not is_panic(error):
                raise
            raise GrammarError(
                f"the grammar cannot be compiled: {str(error)[:MAX_REASON]}"
            ) from error
        return OutlinesCoreTemplate(processor, self._table, self._start_id, self._end_id)

    def _processor(self, source: Source) -> OutlinesCoreLogitsProcessor:
        if source.language == "json":
            pattern = _WHITESPACE_PATTERNS[source.whitespace]
            regex: str = build_regex_from_schema(source.text, pattern)
            return self.get_regex_logits_processor(regex)
        if source.language == "lark":
            raise GrammarError("outlines_core has no context-free grammars")
        self._llguidance.compile(source)
        return self.get_regex_logits_processor(llguidance.regex_to_lark(source.text, "dws"))

    def get_regex_logits_processor(self, regex: str) -> OutlinesCoreLogitsProcessor:
        """Of a whole answer. The processor's `index` begins and ends with our two characters."""
        index = Index(f"{START}(?:{regex}){END}", self.vocabulary)
        return OutlinesCoreLogitsProcessor(index, self.tensor_library_name)
