"""Grammars of a batch: matchers for sequences that join, masks for the rows that choose."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import torch

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.guard import Guard
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.options import BackendChoice, backend_choice, whitespace_named
from inlay_grammars.spec import GrammarError, GrammarKind, GrammarSpec
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import ModelRefused, RowFailed
from inlay_shard.sampling.sampler import RowMasks
from inlay_shard.steps.batch import Row

_MIN_FILLED_EARLY = 4
"""Masks of fewer rows are filled in less time than it takes to let another thread do it."""

Filled: TypeAlias = tuple[RowMasks, dict[int, str]]
"""Masks for the rows that have a matcher, and why rows cannot go on that cannot."""

_KINDS: dict[pb.Grammar.Kind, GrammarKind] = {
    pb.Grammar.KIND_JSON: "json",
    pb.Grammar.KIND_REGEX: "regex",
    pb.Grammar.KIND_LARK: "lark",
    pb.Grammar.KIND_CHOICE: "choice",
}


class Constraints:
    """Compiles grammars and fills masks; only rank 0 has one. For one thread."""

    def __init__(
        self,
        tokenizer_json: str,
        vocab_size: int,
        eos_token_ids: Sequence[int],
        num_threads: int | None = None,
    ) -> None:
        """Takes about 1.5 s for 131,072 tokens. `num_threads` fill masks."""
        self._vocab_size = vocab_size
        self._num_threads = num_threads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="masks")
        self._mask: BatchMask | None = None
        self._max_rows = 0
        self.fill_nanoseconds = 0
        """Spent on filling masks so far."""
        self._compiler: GrammarCompiler | None = None
        self._finishing: Finishing | None = None
        self._reason = ""
        try:
            self._compiler = GrammarCompiler(tokenizer_json, vocab_size, eos_token_ids)
            self._finishing = Finishing(self._compiler.tokens)
        except ValueError as error:
            self._reason = str(error)

    def make(self, backend: BackendChoice) -> None:
        """Make a backend before the first grammar for it. Raises ModelRefused."""
        if self._compiler is None:
            return
        try:
            self._compiler.make(backend)
        except Exception as error:  # whatever its package raises
            raise ModelRefused(f"--grammar-backend {backend} cannot be used: {error}") from error

    def follow(self, message: pb.Sequence) -> tuple[Matcher, Guard | None]:
        """The state of a sequence's grammar behind its answer so far, and what leads it to its
        end in time if that is asked for. Raises RowFailed."""
        output_ids = message.token_ids[message.num_prompt_tokens :]
        try:
            grammar = self._compile(message.grammar)
            matcher, guard = grammar.matcher(), self._guard(grammar, message)
            if guard is None:
                matcher.consume(output_ids)
            else:
                for place, token_id in enumerate(output_ids):
                    guard.follow(matcher, token_id, message.max_new_tokens - place)
        except GrammarError as error:
            raise RowFailed(pb.RowFailure.KIND_INVALID, str(error)) from error
        return matcher, guard

    def _guard(self, grammar: Grammar, message: pb.Sequence) -> Guard | None:
        if self._finishing is None or not message.HasField("finishing"):
            return None
        return self._finishing.guard(grammar, tuple(message.finishing.first_plan))

    def _compile(self, grammar: pb.Grammar) -> Grammar:
        if self._compiler is None:
            raise GrammarError(f"this model cannot follow grammars: {self._reason}")
        return self._compiler.compile(
            GrammarSpec(
                kind=_KINDS[grammar.kind],
                value=grammar.value,
                is_strict=not grammar.is_lenient,
                backend=backend_choice(grammar.backend),
                whitespace=whitespace_named(grammar.whitespace),
            )
        )

    def begin(self, rows: Sequence[Row]) -> "Filling | None":
        """Begin to fill the masks of rows, on another thread; None if none needs one.

        Until it is done, nobody else may use their matchers.
        """
        matchers = matchers_of(rows)
        if not matchers:
            return None
        filling = Filling(self, rows)
        if len(matchers) >= _MIN_FILLED_EARLY:
            filling.filled = self._thread.submit(self.fill, matchers)
        return filling

    def fill(self, matchers: Mapping[int, Matcher]) -> Filled:
        """The masks of a batch, by the places of its rows. The next call uses their memory."""
        start = time.perf_counter_ns()
        row_indices = sorted(matchers)
        mask = self._mask_of(len(row_indices))
        failures = mask.fill({place: matchers[row] for place, row in enumerate(row_indices)})
        self.fill_nanoseconds += time.perf_counter_ns() - start
        packed = torch.from_numpy(mask.words[: len(row_indices)])
        masks = RowMasks(row_indices=row_indices, packed=packed)
        return masks, {row_indices[place]: reason for place, reason in failures.items()}

    def _mask_of(self, num_rows: int) -> BatchMask:
        """A mask with room for so many rows; its memory is used again in each step."""
        if self._mask is None or num_rows > self._max_rows:
            self._max_rows = max(16, 2 * num_rows)
            self._mask = BatchMask(self._max_rows, self._vocab_size, num_threads=self._num_threads)
        return self._mask


class Filling:
    """The masks of a batch while they are filled."""

    filled: Future[Filled] | None = None
    """By another thread; None to fill when they are asked for."""

    def __init__(self, constraints: Constraints, rows: Sequence[Row]) -> None:
        self._constraints = constraints
        self._spent_before = constraints.fill_nanoseconds
        self._num_rows = len(rows)

    @property
    def nanoseconds(self) -> int:
        """That filling took, once `of` has given the masks."""
        return self._constraints.fill_nanoseconds - self._spent_before

    def of(self, rows: Sequence[Row]) -> tuple[RowMasks | None, dict[int, str]]:
        """Wait for the masks; `rows` are those that the filling began with, or some of them."""
        if self.filled is not None:
            filled = self.filled.result()
            if len(rows) == self._num_rows:
                return filled
        matchers = matchers_of(rows)
        return self._constraints.fill(matchers) if matchers else (None, {})


def matchers_of(rows: Sequence[Row]) -> dict[int, Matcher]:
    """By place, of the rows whose answer a grammar constrains."""
    return {
        place: matcher
        for place, row in enumerate(rows)
        if (matcher := row.sequence.matcher) is not None
    }
