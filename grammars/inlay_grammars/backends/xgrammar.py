"""Outlines' xgrammar backend: the quickest masks, for schemas that are plain and trusted."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import xgrammar
from numpy.typing import NDArray
from outlines.backends.xgrammar import XGrammarBackend, XGrammarLogitsProcessor

from inlay_grammars.backends.interface import Filler
from inlay_grammars.backends.panics import is_panic
from inlay_grammars.backends.tokens import TokenTable
from inlay_grammars.bits import last_word, num_words, put_bits
from inlay_grammars.options import Whitespace
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError
from inlay_grammars.whitespace import MAX_WHITESPACE

CACHE_BYTES = 64 * 1024 * 1024
"""Of rules that xgrammar keeps for grammars to come. Outlines leaves this without a bound."""
MAX_REASON = 300


class XGrammar(XGrammarBackend):
    """Four things differ from Outlines' own: a mask is as wide as the logits and shows no token
    that does not exist, special tokens are not text, every end token of the model ends a grammar,
    and what is kept of compiled rules is bounded."""

    def __init__(self, table: TokenTable) -> None:
        """Takes about a second and 140 MB for 131,072 tokens."""
        info = xgrammar.TokenizerInfo(
            [b"" if text is None else text for text in table.texts],  # empty: never allowed
            xgrammar.VocabType.RAW,
            vocab_size=table.vocab_size,
            stop_token_ids=list(table.eos_token_ids),
        )
        self.grammar_compiler = xgrammar.GrammarCompiler(
            info, max_threads=1, cache_limit_bytes=CACHE_BYTES
        )
        self.tensor_library_name = "torch"  # the only one that Outlines offers for xgrammar
        self._table = table
        self.compile(Source("regex", "a"))  # imports what a forked child would import each time

    def compile(self, source: Source) -> "XGrammarTemplate":
        """As `interface.Backend.compile`. Takes from milliseconds to many seconds."""
        try:
            compiled = self._compile(source)
        except BaseException as error:
            if not is_panic(error):
                raise
            raise GrammarError(f"the grammar cannot be compiled: {_reason(error)}") from error
        processor = XGrammarLogitsProcessor(compiled, self.tensor_library_name)
        template = XGrammarTemplate(processor, self._table)
        if not template.start().mask().any():
            raise GrammarError("the grammar cannot be followed: it allows no answer at all")
        return template

    def _compile(self, source: Source) -> Any:
        if source.language == "regex":
            return self.grammar_compiler.compile_regex(source.text)
        if source.language == "lark":
            raise GrammarError("xgrammar reads another dialect")
        # Outlines' own would close every object, and let whitespace go on without end.
        options = _JSON_OPTIONS[source.whitespace]
        return self.grammar_compiler.compile_json_schema(source.text, strict_mode=False, **options)


_JSON_OPTIONS: Mapping[Whitespace, dict[str, Any]] = {
    "flexible": {"any_whitespace": True, "max_whitespace_cnt": MAX_WHITESPACE},
    "pretty": {"any_whitespace": False, "separators": (", ", ": ")},
    "compact": {"any_whitespace": False, "separators": (",", ":")},
}


def _reason(error: BaseException) -> str:
    """Without the time and the place in C++ that its messages begin with."""
    return str(error).rpartition(".cc:")[2].partition(": ")[2].strip()[:MAX_REASON] or str(error)


class XGrammarTemplate:
    """As `interface.Template`."""

    warnings: tuple[str, ...] = ()

    def __init__(self, processor: XGrammarLogitsProcessor, table: TokenTable) -> None:
        """processor: Outlines', with a compiled grammar in it."""
        self.processor = processor
        self.compiled: Any = processor.compiled_grammar
        self.table = table
        self.last_word = last_word(table.vocab_size)

    @property
    def num_bytes(self) -> int:
        return int(self.compiled.memory_size_bytes)

    def start(self) -> "XGrammarState":
        return XGrammarState(self, xgrammar.GrammarMatcher(self.compiled))


class XGrammarFiller:
    """As `interface.Filler`: masks of many states in one call."""

    def __init__(self, num_threads: int | None) -> None:
        self._batch = xgrammar.BatchGrammarMatcher(num_threads or "auto")

    def fill(self, states: Mapping[int, "XGrammarState"], words: NDArray[np.int32]) -> None:
        natives = [state.native for state in states.values()]
        try:
            self._batch.batch_fill_next_token_bitmask(natives, words, list(states))
        except BaseException as error:
            if not is_panic(error):
                raise
            for row, state in states.items():
                words[row] = state.mask()
        for row, state in states.items():
            words[row, -1] &= state.last_word


class XGrammarState:
    """As `interface.State`."""

    __slots__ = ("_failure", "_template", "native")

    filler: ClassVar[type[Filler]] = XGrammarFiller
    shows_forced_alone: ClassVar[bool] = False

    def __init__(self, template: XGrammarTemplate, native: xgrammar.GrammarMatcher) -> None:
        """native: of the grammar of `template`."""
        self._template = template
        self._failure: str | None = None
        self.native = native

    @property
    def last_word(self) -> np.int32:
        """What xgrammar leaves set behind the last token of a mask has to be cut off by this."""
        return self._template.last_word

    @property
    def error(self) -> str | None:
        return self._failure

    @property
    def is_accepting(self) -> bool:
        return bool(self.native.is_completed())

    @property
    def is_stopped(self) -> bool:
        if not self.is_accepting:
            return False
        row = self.mask()
        put_bits(row, self._template.table.eos_token_ids, is_allowed=False)
        return not row.any()

    def mask(self) -> NDArray[np.int32]:
        """The allowed tokens, packed; nothing if xgrammar fails, which is an error from then on."""
        row = np.zeros(num_words(self._template.table.vocab_size), np.int32)
        try:
            self.native.fill_next_token_bitmask(row.reshape(1, -1))
        except BaseException as error:
            if not is_panic(error):
                raise
            self._failure = f"the grammar made the matcher fail: {_reason(error)}"
            row.fill(0)
        row[-1] &= self.last_word
        return row

    def try_consume(self, token_ids: Sequence[int]) -> int:
        is_text = self._template.table.is_text
        for place, token_id in enumerate(token_ids):
            # xgrammar would write to standard error about tokens that are no text.
            if not (is_text(token_id) and self._accepts(token_id)):
                return place
        return len(token_ids)

    def _accepts(self, token_id: int) -> bool:
        try:
            return bool(self.native.accept_token(token_id))
        except BaseException as error:
            if not is_panic(error):
                raise
            self._failure = f"the grammar made the matcher fail: {_reason(error)}"
            return False

    def rollback(self, num_tokens: int) -> None:
        if num_tokens:
            self.native.rollback(num_tokens)

    def forced_tokens(self) -> list[int]:
        forced = self.native.find_jump_forward_string()
        return self._template.table.tokenize_start(forced.encode()) if forced else []

    def copy(self) -> "XGrammarState":
        twin = XGrammarState(self._template, self.native.fork())
        twin._failure = self._failure
        return twin

    def renew(self, token_ids: Sequence[int]) -> None:
        """Nothing is shared between sequences, so nothing can be worn out."""
