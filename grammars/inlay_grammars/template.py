"""A compiled grammar inside llguidance: what every new state is copied from."""

from threading import Lock

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from inlay_grammars.spec import GrammarError

MAX_LEXER_STATES = 50_000
"""Of one grammar, over all its sequences. Each takes about 1 kB."""
MAX_REASON = 500


class Template:
    """The state before the first token. For any thread.

    Copies of a state share the lexer states found so far, which makes them fast. They also share
    the bound on these: when one copy reaches it, every copy is in error. So what failed may be
    worn out instead of impossible; after `renew` it is worth one more try.
    """

    def __init__(
        self, tokenizer: LLTokenizer, grammar: str, text_end_ids: tuple[int, ...] = ()
    ) -> None:
        """Compiles `grammar`.

        Args:
            tokenizer: llguidance's, of the model.
            grammar: what `llguidance.grammar_from` gives.
            text_end_ids: end tokens that are plain text to `tokenizer`.

        Raises:
            GrammarError: it cannot be compiled, or allows no answer at all.
        """
        self.text_end_ids = text_end_ids
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._lock = Lock()
        self._generation = 0
        self._native = self._compile()

    def start(self) -> tuple[LLMatcher, int]:
        """A new state, and the generation of templates that it is from."""
        with self._lock:
            return self._native.deep_copy(), self._generation

    def renew(self, generation: int) -> None:
        """Compile again, unless that was done since `generation`. Takes about a millisecond."""
        with self._lock:
            if generation == self._generation:
                self._native = self._compile()
                self._generation += 1

    def _compile(self) -> LLMatcher:
        limits = LLParserLimits(max_lexer_states=MAX_LEXER_STATES, verbose_errors=False)
        native = LLMatcher(self._tokenizer, self._grammar, log_level=0, limits=limits)
        if native.is_error():
            raise GrammarError(f"the grammar cannot be compiled: {reason(native.get_error())}")
        probe = native.deep_copy()
        probe.compute_bitmask()  # some grammars fail only here
        if probe.is_error():
            raise GrammarError(f"the grammar cannot be followed: {reason(probe.get_error())}")
        return native


def reason(error: str) -> str:
    """What llguidance says is wrong, without our wrapping and its internals.

    Up to `MAX_REASON` characters, since it may quote the whole grammar.
    """
    if error.startswith("NoExtension"):
        return "it allows no answer at all"
    if "coerce_one_of" in error:
        return "the alternatives of a `oneOf` may overlap, which cannot be enforced; use `anyOf`"
    for wrapping in ("\n<non-verbose/>", "\n   1 | start:"):
        error = error.partition(wrapping)[0]
    return error.strip()[:MAX_REASON]
