"""What a backend of Outlines must offer, whichever it is."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from outlines.processors.base_logits_processor import OutlinesLogitsProcessor

from inlay_grammars.source import Source


class Filler(Protocol):
    """Writes the masks of states of one backend. For one thread at a time."""

    def __init__(self, num_threads: int | None) -> None:
        """num_threads: that fill; None for most of the cores."""

    def fill(self, states: Mapping[int, Any], words: NDArray[np.int32]) -> None:
        """Write the mask of each state into its row of `words`, (rows, ceil(vocab_size / 32)).

        Never raises for a grammar's sake: a state that cannot go on says so by its `error`.
        """


class State(Protocol):
    """Where one sequence stands in a grammar. For one thread at a time.

    Nothing here raises for a grammar's or a token's sake, a panic of the backend included.
    """

    filler: ClassVar[type[Filler]]
    shows_forced_alone: ClassVar[bool]
    """Whether a mask allows nothing but the first of `forced_tokens` where there are any."""

    @property
    def error(self) -> str | None:
        """Why it cannot go on; None while it can."""

    @property
    def is_accepting(self) -> bool:
        """The text so far is a complete answer; asked only without `error`."""

    @property
    def is_stopped(self) -> bool:
        """... and nothing may follow."""

    def try_consume(self, token_ids: Sequence[int]) -> int:
        """Go on by as many of these as are allowed. Returns how many."""

    def rollback(self, num_tokens: int) -> None:
        """Take back the last of the tokens consumed; never more than there are."""

    def forced_tokens(self) -> list[int]:
        """Tokens that must come next, as the tokenizer would write them; may miss some."""

    def copy(self) -> Self:
        """Another state at the same place."""

    def renew(self, token_ids: Sequence[int]) -> None:
        """Start over and consume these, if what failed may be shared with other sequences.

        Raises:
            GrammarError: the grammar does not compile any more.
        """


class Template(Protocol):
    """A compiled grammar: what every state starts from. For any thread."""

    warnings: tuple[str, ...]
    """What is not enforced, in words for the client; empty unless leniency was asked for."""

    @property
    def processor(self) -> OutlinesLogitsProcessor:
        """Outlines' own logits processor of this grammar."""

    @property
    def num_bytes(self) -> int:
        """About how much memory it holds."""

    def start(self) -> State:
        """A new state, before the first token."""


class Backend(Protocol):
    """Compiles grammars for one model. For any thread."""

    def compile(self, source: Source) -> Template:
        """A new template.

        Raises:
            GrammarError: it cannot be compiled, or allows no answer at all.
        """
