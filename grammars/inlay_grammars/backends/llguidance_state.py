"""A compiled grammar inside llguidance, its state for each sequence, and masks of many at once."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import ClassVar

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLParserLimits
from numpy.typing import NDArray
from outlines.backends.llguidance import LLGuidanceLogitsProcessor

from inlay_grammars.backends.interface import Filler
from inlay_grammars.backends.panics import is_panic
from inlay_grammars.backends.reasons import reason
from inlay_grammars.bits import put_bits
from inlay_grammars.spec import GrammarError

BYTES_PER_GRAMMAR = 96 * 1024
BYTES_PER_CHARACTER = 200
"""Of the grammar's text, for what it compiles to and the lexer states of a few walks: 600 schemas
of 345 characters took 169 kB each."""


class LLGuidanceTemplate:
    """The state before the first token. For any thread.

    Copies of a state share the lexer states found so far, which makes them fast. They also share
    the bound on these: when one copy reaches it, every copy is in error. So what failed may be
    worn out instead of impossible; after `renew` it is worth one more try.
    """

    def __init__(
        self,
        processor: LLGuidanceLogitsProcessor,
        limits: LLParserLimits,
        text_end_ids: tuple[int, ...] = (),
    ) -> None:
        """Compiles the grammar of `processor`.

        Args:
            processor: Outlines'.
            limits: on the work that following the grammar may take.
            text_end_ids: end tokens that are plain text to llguidance.

        Raises:
            GrammarError: it cannot be compiled, or allows no answer at all.
        """
        self.processor = processor
        self.warnings: tuple[str, ...] = ()
        """What is not enforced; set by whoever allowed it."""
        self.text_end_ids = text_end_ids
        self._limits = limits
        self._lock = Lock()
        self._generation = 0
        self._native = self._compile()

    @property
    def num_bytes(self) -> int:
        """About how much memory it holds."""
        return BYTES_PER_GRAMMAR + BYTES_PER_CHARACTER * len(self.processor.grammar)

    def start(self) -> "LLGuidanceState":
        """A new state. Takes 1-3 µs."""
        return LLGuidanceState(self, *self.native())

    def native(self) -> tuple[LLMatcher, int]:
        """llguidance's own state, and the generation of templates that it is from."""
        with self._lock:
            return self._native.deep_copy(), self._generation

    def renew(self, generation: int) -> None:
        """Compile again, unless that was done since `generation`. Takes about a millisecond."""
        with self._lock:
            if generation == self._generation:
                self._native = self._compile()
                self._generation += 1

    def _compile(self) -> LLMatcher:
        try:
            return self._try_compile()
        except BaseException as error:
            if isinstance(error, GrammarError) or not is_panic(error):
                raise
            raise GrammarError(f"the grammar made the compiler fail: {error}") from error

    def _try_compile(self) -> LLMatcher:
        tokenizer, grammar = self.processor.llg_tokenizer, self.processor.grammar
        native = LLMatcher(tokenizer, grammar, log_level=0, limits=self._limits)
        if native.is_error():
            raise GrammarError(f"the grammar cannot be compiled: {reason(native.get_error())}")
        probe = native.deep_copy()
        probe.compute_bitmask()  # some grammars fail only here
        if probe.is_error():
            raise GrammarError(f"the grammar cannot be followed: {reason(probe.get_error())}")
        return native


class LLGuidanceFiller:
    """Masks of many states in one call, on threads, without the interpreter lock."""

    def __init__(self, num_threads: int | None) -> None:
        """As `interface.Filler`."""
        self._executor = LLExecutor(num_threads)

    def fill(self, states: Mapping[int, "LLGuidanceState"], words: NDArray[np.int32]) -> None:
        """As `interface.Filler`."""
        try:
            self._fill(states, words)
        except BaseException as error:
            if not is_panic(error):
                raise
            self._fill_one_by_one(states, words)
        for row, state in states.items():
            if state.text_end_ids:
                put_bits(words[row], state.text_end_ids, state.is_accepting)

    def _fill(self, states: Mapping[int, "LLGuidanceState"], words: NDArray[np.int32]) -> None:
        pairs = [(state.native, row) for row, state in states.items()]
        max_rows, num_words = words.shape
        self._executor.unsafe_compute_mask_ptr(pairs, words.ctypes.data, num_words * 4, max_rows)

    def _fill_one_by_one(
        self, states: Mapping[int, "LLGuidanceState"], words: NDArray[np.int32]
    ) -> None:
        """One of them made llguidance panic: let it fail alone."""
        for row, state in states.items():
            try:
                self._fill({row: state}, words)
            except BaseException as error:
                if not is_panic(error):
                    raise
                state.fail(error)


class LLGuidanceState:
    """As `interface.State`. End tokens are text to no state."""

    __slots__ = ("_failure", "_generation", "_template", "native")

    filler: ClassVar[type[Filler]] = LLGuidanceFiller
    shows_forced_alone: ClassVar[bool] = True

    def __init__(self, template: LLGuidanceTemplate, native: LLMatcher, generation: int) -> None:
        """native: of this `generation` of the template."""
        self._template = template
        self._generation = generation
        self._failure: str | None = None
        self.native = native

    @property
    def text_end_ids(self) -> tuple[int, ...]:
        """End tokens that `native` takes for plain text; a mask has to correct them."""
        return self._template.text_end_ids

    @property
    def error(self) -> str | None:
        if self._failure is not None:
            return self._failure
        return reason(self.native.get_error()) if self.native.is_error() else None

    @property
    def is_accepting(self) -> bool:
        return self.native.is_accepting()

    @property
    def is_stopped(self) -> bool:
        return self.native.is_stopped()

    def fail(self, error: BaseException) -> None:
        """`native` panicked, and what it says from now on means nothing."""
        self._failure = f"the grammar made the matcher fail: {error}"

    def try_consume(self, token_ids: Sequence[int]) -> int:
        try:
            return self.native.try_consume_tokens(list(token_ids))
        except OverflowError:
            return self._num_within_32_bits(token_ids)
        except BaseException as error:
            if not is_panic(error):
                raise
            self.fail(error)
            return 0

    def _num_within_32_bits(self, token_ids: Sequence[int]) -> int:
        """The others are no tokens; what precedes them may be consumed."""
        is_wide = [not 0 <= token_id < 2**32 for token_id in token_ids]
        return self.try_consume(token_ids[: is_wide.index(True)])

    def rollback(self, num_tokens: int) -> None:
        self.native.rollback(num_tokens)

    def forced_tokens(self) -> list[int]:
        try:
            return self.native.compute_ff_tokens()
        except BaseException as error:
            if not is_panic(error):
                raise
            self.fail(error)
            return []

    def copy(self) -> "LLGuidanceState":
        twin = LLGuidanceState(self._template, self.native.deep_copy(), self._generation)
        twin._failure = self._failure
        return twin

    def renew(self, token_ids: Sequence[int]) -> None:
        self._template.renew(self._generation)
        self.native, self._generation = self._template.native()
        self._failure = None
        self.native.consume_tokens(list(token_ids))
