"""Rows that join, leave and go back: each mask equals that of Outlines' own processor."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.options import BackendName
from inlay_grammars.spec import GrammarSpec

SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"type": "array", "items": {"enum": ["red", "é", 12, None]}},
    {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
]
REGEXES = [r"\d{3}(-\d{4})?", "[^a]+", "(red|green)(, (red|green))*"]
MAX_ROWS = 6
NUM_STEPS = 60
CORE_START, CORE_END = 1024, 1025
"""Tokens for the characters around every answer of outlines_core, behind those of the model."""


class Row:
    """One sequence, and what Outlines' own processor says of the same tokens."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.matcher = grammar.matcher()
        self.token_ids: list[int] = []

    def consume(self, token_id: int) -> None:
        """Go on by a token."""
        self.matcher.consume([token_id])
        self.token_ids.append(token_id)

    def go_back(self, num_tokens: int) -> None:
        """Take tokens back."""
        self.matcher.rollback(num_tokens)
        del self.token_ids[len(self.token_ids) - num_tokens :]

    def own_mask(self, vocab_size: int, eos_token_ids: Sequence[int]) -> set[int]:
        """By a processor that begins anew: Outlines cannot go back."""
        is_core = self.grammar.backend == "outlines_core"
        token_ids = [CORE_START, *self.token_ids] if is_core else self.token_ids
        processor: Any = self.grammar.processor
        processor.reset()
        for place in range(len(token_ids) + 1):
            width = CORE_START + 32 if is_core else vocab_size
            scores = own_scores(processor, [0, *token_ids[:place]], width)
        allowed = set(np.flatnonzero(scores == 0).tolist())
        if not is_core:
            return allowed
        ends = set(eos_token_ids) if CORE_END in allowed else set()
        return {token_id for token_id in allowed if token_id < vocab_size} | ends


def own_scores(processor: Any, token_ids: list[int], width: int) -> NDArray[np.float32]:
    """Of one sequence: 0 for what is allowed."""
    ids, logits = np.array([token_ids]), np.zeros((1, width), np.float32)
    if processor.tensor_library_name == "torch":
        import torch

        scores = processor(torch.from_numpy(ids), torch.from_numpy(logits)).numpy()
    else:
        scores = processor(ids, logits)
    row: NDArray[np.float32] = scores[0]
    return row


def specs(backend: BackendName) -> list[GrammarSpec]:
    """Grammars whose masks can be compared; `[^a]` would match the end character of one backend."""
    regexes = [each for each in REGEXES if backend != "outlines_core" or "^" not in each]
    schemas = [GrammarSpec("json", json.dumps(schema), backend=backend) for schema in SCHEMAS]
    return schemas + [GrammarSpec("regex", regex, backend=backend) for regex in regexes]


@pytest.mark.parametrize("backends", [["llguidance"], ["outlines_core"], ["xgrammar"], None])
def test_rows_equal_outlines_own_while_they_join_leave_and_go_back(
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    vocab_size: int,
    eos_token_ids: list[int],
    backends: list[BackendName] | None,
) -> None:
    names: list[BackendName] = backends or ["llguidance", "outlines_core", "xgrammar"]
    if "xgrammar" in names:
        pytest.importorskip("xgrammar", reason="the extra inlay[xgrammar] is not installed")
    grammars = [compiler.compile(spec) for name in names for spec in specs(name)]
    chance = Random("rows")
    mask = BatchMask(MAX_ROWS, vocab_size, num_threads=1)
    rows: dict[int, Row] = {}
    num_compared = num_back = num_left = 0
    for _ in range(NUM_STEPS):
        for place in range(MAX_ROWS):
            if place not in rows and chance.random() < 0.5:
                rows[place] = Row(chance.choice(grammars))
        matchers: dict[int, Matcher] = {place: row.matcher for place, row in rows.items()}
        assert mask.fill(matchers) == {}
        for place, row in list(rows.items()):
            allowed = allowed_in(mask, place)
            assert allowed == row.own_mask(vocab_size, eos_token_ids), row.grammar
            num_compared += 1
            token_id = chance.choice(sorted(allowed))
            if token_id in eos_token_ids or len(row.token_ids) > 12:
                del rows[place]
                num_left += 1
            elif row.token_ids and chance.random() < 0.25:
                row.go_back(chance.randint(1, len(row.token_ids)))
                num_back += 1
            else:
                row.consume(token_id)
    assert min(num_compared / 100, num_back / 10, num_left / 10) >= 1


def allowed_in(mask: BatchMask, place: int) -> set[int]:
    """Ids that are allowed in a row."""
    bits = np.unpackbits(mask.words[place].view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())
