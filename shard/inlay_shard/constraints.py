"""Grammars of a batch: matchers for sequences that join, masks for the rows that choose."""

from collections.abc import Mapping, Sequence

import torch

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError, GrammarSpec
from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import RowFailed
from inlay_shard.sampler import RowMasks


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
        self._mask: BatchMask | None = None
        self._max_rows = 0
        self._compiler: GrammarCompiler | None = None
        self._reason = ""
        try:
            self._compiler = GrammarCompiler(tokenizer_json, vocab_size, eos_token_ids)
        except ValueError as error:
            self._reason = str(error)

    def matcher(self, grammar: pb.Grammar, output_ids: Sequence[int]) -> Matcher:
        """The state of a grammar behind the answer so far. Raises RowFailed."""
        try:
            matcher = self._compile(grammar).matcher()
            matcher.consume(output_ids)
        except GrammarError as error:
            raise RowFailed(pb.RowFailure.KIND_INVALID, str(error)) from error
        return matcher

    def _compile(self, grammar: pb.Grammar) -> Grammar:
        if self._compiler is None:
            raise GrammarError(f"this model cannot follow grammars: {self._reason}")
        is_json = grammar.kind == pb.Grammar.KIND_JSON
        return self._compiler.compile(GrammarSpec("json" if is_json else "regex", grammar.value))

    def fill(self, matchers: Mapping[int, Matcher]) -> tuple[RowMasks | None, dict[int, str]]:
        """Masks for the rows that have a matcher, and why rows cannot go on that cannot."""
        if not matchers:
            return None, {}
        row_indices = sorted(matchers)
        mask = self._mask_of(len(row_indices))
        failures = mask.fill({place: matchers[row] for place, row in enumerate(row_indices)})
        packed = torch.from_numpy(mask.words[: len(row_indices)])
        masks = RowMasks(row_indices=row_indices, packed=packed)
        return masks, {row_indices[place]: reason for place, reason in failures.items()}

    def _mask_of(self, num_rows: int) -> BatchMask:
        """A mask with room for so many rows; its memory is used again in each step."""
        if self._mask is None or num_rows > self._max_rows:
            self._max_rows = max(16, 2 * num_rows)
            self._mask = BatchMask(self._max_rows, self._vocab_size, num_threads=self._num_threads)
        return self._mask
