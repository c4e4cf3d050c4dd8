"""A compiled automaton of outlines_core, its state for each sequence, and their masks."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from outlines.backends.outlines_core import OutlinesCoreLogitsProcessor
from outlines_core import Guide, Index

from inlay_grammars.backends.interface import Filler
from inlay_grammars.backends.panics import is_panic
from inlay_grammars.backends.tokens import TokenTable
from inlay_grammars.bits import num_words, put_bits
from inlay_grammars.spec import GrammarError

BYTES_PER_PICKLED_BYTE = 2.5
MAX_ROWS_KEPT = 64
"""Masks of places in one automaton, kept for the next sequence that comes by."""


class OutlinesCoreTemplate:
    """As `interface.Template`."""

    warnings: tuple[str, ...] = ()

    def __init__(
        self,
        processor: OutlinesCoreLogitsProcessor,
        table: TokenTable,
        start_id: int,
        end_id: int,
    ) -> None:
        """The ids are those of the characters around every answer.

        Raises:
            GrammarError: there is no answer.
        """
        self.processor = processor
        self.index: Index = processor.index
        self.table = table
        self.start_id = start_id
        self._end_id = end_id
        self._rows: dict[int, NDArray[np.int32]] = {}
        self._lock = Lock()
        first = self.index.get_next_state(self.index.get_initial_state(), start_id)
        if first is None:
            raise GrammarError("the grammar cannot be followed: it allows no answer at all")
        self.first: int = first
        """The place before the first token."""
        row_bytes = MAX_ROWS_KEPT * 4 * num_words(table.vocab_size)
        pickled = self.index.__reduce__()[1][0]
        self.num_bytes = int(BYTES_PER_PICKLED_BYTE * len(pickled)) + row_bytes

    def start(self) -> "OutlinesCoreState":
        return OutlinesCoreState(self)

    def is_accepting(self, place: int) -> bool:
        """Whether the end character may follow."""
        end = self.index.get_next_state(place, self._end_id)
        return end is not None and self.index.is_final_state(end)

    def row(self, place: int) -> NDArray[np.int32] | None:
        """The mask at a place, without end tokens, if it is kept. Not to be changed."""
        with self._lock:
            return self._rows.get(place)

    def keep(self, place: int, row: NDArray[np.int32]) -> None:
        """Keep the mask at a place, instead of the oldest one."""
        with self._lock:
            self._rows[place] = row
            if len(self._rows) > MAX_ROWS_KEPT:
                del self._rows[next(iter(self._rows))]


class OutlinesCoreFiller:
    """As `interface.Filler`. Masks that are kept cost a copy."""

    def __init__(self, num_threads: int | None) -> None:
        """There are no threads to use: outlines_core holds the interpreter lock."""

    def fill(self, states: Mapping[int, "OutlinesCoreState"], words: NDArray[np.int32]) -> None:
        for row, state in states.items():
            words[row] = state.mask()
            put_bits(words[row], state.eos_token_ids, state.is_accepting)


class OutlinesCoreState:
    """As `interface.State`: a list of places in the automaton, the last one being ours."""

    __slots__ = ("_failure", "_guide", "_num_guided", "_places", "_template", "_token_ids")

    filler: ClassVar[type[Filler]] = OutlinesCoreFiller
    shows_forced_alone: ClassVar[bool] = False

    def __init__(self, template: OutlinesCoreTemplate) -> None:
        self._template = template
        self._token_ids: list[int] = []
        self._places = [template.first]
        self._guide: Guide | None = None
        self._num_guided = 0
        """How many of our tokens the guide, which only masks need, has followed."""
        self._failure: str | None = None

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        return self._template.table.eos_token_ids

    @property
    def error(self) -> str | None:
        return self._failure

    @property
    def is_accepting(self) -> bool:
        return self._template.is_accepting(self._places[-1])

    @property
    def is_stopped(self) -> bool:
        return self.is_accepting and not self.mask().any()

    def mask(self) -> NDArray[np.int32]:
        """The allowed tokens, end tokens aside, packed. Not to be changed."""
        place = self._places[-1]
        row = self._template.row(place)
        if row is None:
            row = self._written()
            self._template.keep(place, row)
        return row

    def _written(self) -> NDArray[np.int32]:
        size = num_words(self._template.table.vocab_size) + 1  # one word for the two characters
        row = np.zeros(size, np.int32)
        try:
            self._guided().write_mask_into(row.ctypes.data, size, row.itemsize)
        except BaseException as error:
            if not is_panic(error):
                raise
            self._failure = f"the grammar made the matcher fail: {error}"
        return row[:-1]

    def _guided(self) -> Guide:
        """A guide that stands where we do."""
        if self._guide is None or self._num_guided > len(self._token_ids):
            self._guide, self._num_guided = Guide(self._template.index), 0
            self._guide.advance(self._template.start_id, return_tokens=False)
        for token_id in self._token_ids[self._num_guided :]:
            self._guide.advance(token_id, return_tokens=False)
        self._num_guided = len(self._token_ids)
        return self._guide

    def try_consume(self, token_ids: Sequence[int]) -> int:
        for num_taken, token_id in enumerate(token_ids):
            place = self._next(token_id)
            if place is None:
                return num_taken
            self._places.append(place)
            self._token_ids.append(token_id)
        return len(token_ids)

    def _next(self, token_id: int) -> int | None:
        if not self._template.table.is_text(token_id):
            return None
        place: int | None = self._template.index.get_next_state(self._places[-1], token_id)
        return place

    def rollback(self, num_tokens: int) -> None:
        if num_tokens:
            del self._places[-num_tokens:], self._token_ids[-num_tokens:]
            self._guide = None

    def forced_tokens(self) -> list[int]:
        """None: an automaton over tokens does not know which of them the tokenizer would use."""
        return []

    def copy(self) -> "OutlinesCoreState":
        twin = OutlinesCoreState(self._template)
        twin._places, twin._token_ids = self._places.copy(), self._token_ids.copy()
        twin._failure = self._failure
        return twin

    def renew(self, token_ids: Sequence[int]) -> None:
        """Nothing is shared between sequences, so nothing can be worn out."""
