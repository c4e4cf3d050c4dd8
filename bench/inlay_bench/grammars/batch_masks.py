"""What the masks of a batch cost: all rows in one call, and each by a processor of Outlines."""

import time
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from inlay_bench.grammars.cases import Case
from inlay_bench.grammars.results import BatchMasksResult
from inlay_bench.grammars.vocabularies import Vocabulary
from inlay_bench.progress import Progress
from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.spec import GrammarError, GrammarSpec

NUM_ROWS = 32
MIN_TOKENS = 20
MAX_STEPS = 60


def measure_batch_masks(
    vocabulary: Vocabulary, cases: Sequence[Case], num_rounds: int, progress: Progress
) -> BatchMasksResult | None:
    """Rounds of `NUM_ROWS` valid instances, each followed by both in turn; None without enough."""
    facts = (vocabulary.tokenizer_json, vocabulary.vocab_size, vocabulary.eos_token_ids)
    compiler = GrammarCompiler(*facts)
    tokenizer = Tokenizer.from_str(vocabulary.tokenizer_json)
    walks = [walk for case in cases if (walk := _walk(compiler, tokenizer, case)) is not None]
    if len(walks) < NUM_ROWS:
        return None
    ours: list[float] = []
    theirs: list[float] = []
    num_different = num_compared = 0
    for index in range(num_rounds):
        rows = Random(f"rows {index}").sample(walks, NUM_ROWS)
        compared, different = _follow(vocabulary.vocab_size, rows, ours, theirs)
        num_compared += compared
        num_different += different
    progress.advance(f"masks of {NUM_ROWS} rows: {num_different} of {num_compared} differ")
    return BatchMasksResult(
        num_rows=NUM_ROWS,
        num_compared=num_compared,
        num_different=num_different,
        step_us=ours,
        outlines_step_us=theirs,
    )


def _walk(
    compiler: GrammarCompiler, tokenizer: Tokenizer, case: Case
) -> tuple[Grammar, list[int]] | None:
    """A grammar beside a valid instance that is long enough and held."""
    for text, is_valid in zip(case.instances, case.are_valid, strict=True):
        token_ids = tokenizer.encode(text).ids
        if is_valid and len(token_ids) >= MIN_TOKENS:
            try:
                grammar = compiler.compile(GrammarSpec("json", case.schema))
                grammar.matcher().consume(token_ids)
            except GrammarError:
                return None
            return grammar, token_ids
    return None


def _follow(
    vocab_size: int,
    rows: Sequence[tuple[Grammar, list[int]]],
    ours: list[float],
    theirs: list[float],
) -> tuple[int, int]:
    """Step by step; how many masks were compared, and how many differed."""
    mask = BatchMask(NUM_ROWS, vocab_size, num_threads=1)
    matchers = {row: grammar.matcher() for row, (grammar, _) in enumerate(rows)}
    processors = [_own_processor(grammar) for grammar, _ in rows]
    num_compared = num_different = 0
    for step in range(min(MAX_STEPS, *(len(token_ids) for _, token_ids in rows))):
        start = time.perf_counter()
        if step:
            for row, matcher in matchers.items():
                matcher.consume([rows[row][1][step - 1]])
        mask.fill(matchers)
        ours.append(round(1e6 * (time.perf_counter() - start), 1))
        seconds = 0.0
        for row, processor in enumerate(processors):
            ids = np.array([[0, *rows[row][1][:step]]])
            logits = np.zeros((1, vocab_size), np.float32)
            start = time.perf_counter()
            scores = processor(ids, logits)
            seconds += time.perf_counter() - start
            num_compared += 1
            num_different += not np.array_equal(scores[0] == 0, _bits(mask, row, vocab_size))
        theirs.append(round(1e6 * seconds, 1))
    return num_compared, num_different


def _own_processor(grammar: Grammar) -> Any:
    """A new logits processor of Outlines for the same grammar."""
    from outlines.backends.llguidance import LLGuidanceLogitsProcessor

    processor: Any = grammar.processor
    return LLGuidanceLogitsProcessor(processor.grammar, processor.llg_tokenizer, "numpy")


def _bits(mask: BatchMask, row: int, vocab_size: int) -> Any:
    words = mask.words[row].view(np.uint8)
    return np.unpackbits(words, bitorder="little", count=vocab_size).astype(bool)
