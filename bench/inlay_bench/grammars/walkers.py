"""One schema at a time in each backend: inlay's, and those of Outlines as Outlines makes them."""

import json
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inlay_bench.grammars.vocabularies import Vocabulary


class Refused(Exception):
    """A schema cannot be used; the message says why."""


class Walker(Protocol):
    """Follows instances through the grammar of one schema."""

    words: NDArray[np.uint32]
    """The mask that `fill` writes, one bit a token."""

    def compile(self, schema: str) -> None:
        """Get ready to follow `schema`. Raises Refused."""

    def start(self) -> None:
        """Go back to before the first token."""

    def fill(self) -> None:
        """Write the mask of the next token."""

    def consume(self, token_id: int) -> None:
        """Go on by a token that the mask allows."""


class InlayWalker:
    """As a shard does it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        from inlay_grammars.compiler import GrammarCompiler
        from inlay_grammars.mask import BatchMask

        facts = (vocabulary.tokenizer_json, vocabulary.vocab_size, vocabulary.eos_token_ids)
        self._compiler = GrammarCompiler(*facts)
        self._mask = BatchMask(1, vocabulary.vocab_size, num_threads=1)
        self.words = self._mask.words.view(np.uint32)[0]

    def compile(self, schema: str) -> None:
        """As `Walker.compile`."""
        from inlay_grammars.spec import GrammarError, GrammarSpec

        try:
            self._grammar = self._compiler.compile(GrammarSpec("json", schema))
        except GrammarError as error:
            raise Refused(str(error)) from None

    def start(self) -> None:
        """As `Walker.start`."""
        self._matcher = self._grammar.matcher()

    def fill(self) -> None:
        """As `Walker.fill`."""
        self._mask.fill({0: self._matcher})

    def consume(self, token_id: int) -> None:
        """As `Walker.consume`."""
        self._matcher.consume([token_id])


class LLGuidanceWalker:
    """llguidance alone, by Outlines' own backend, a new matcher for every sequence."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
        from outlines.backends.llguidance import LLGuidanceBackend

        self._backend = LLGuidanceBackend(_outlines_model(vocabulary))
        self._mask = allocate_token_bitmask(1, vocabulary.vocab_size)
        self._fill = fill_next_token_bitmask
        self.words = self._mask.view(np.uint32)[0]

    def compile(self, schema: str) -> None:
        """As `Walker.compile`, with the first mask, in which some grammars fail."""
        processor = _make(lambda: self._backend.get_json_schema_logits_processor(schema))
        self._processor = processor
        self.start()
        self.fill()
        if self._matcher.is_error():
            raise Refused(self._matcher.get_error())

    def start(self) -> None:
        """As `Walker.start`."""
        from llguidance import LLMatcher

        self._matcher = LLMatcher(
            self._processor.llg_tokenizer, self._processor.grammar, log_level=0
        )

    def fill(self) -> None:
        """As `Walker.fill`."""
        self._fill(self._matcher, self._mask, 0)

    def consume(self, token_id: int) -> None:
        """As `Walker.consume`."""
        self._matcher.consume_token(token_id)


class XGrammarWalker:
    """xgrammar, by Outlines' own backend."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        import xgrammar
        from outlines.backends.xgrammar import XGrammarBackend

        self._backend = XGrammarBackend(_outlines_model(vocabulary))
        self._new_matcher = xgrammar.GrammarMatcher
        self._mask = xgrammar.allocate_token_bitmask(1, vocabulary.vocab_size)
        self.words = self._mask.numpy().view(np.uint32)[0]

    def compile(self, schema: str) -> None:
        """As `Walker.compile`."""
        processor = _make(lambda: self._backend.get_json_schema_logits_processor(schema))
        self._grammar = processor.compiled_grammar
        self.start()
        self.fill()

    def start(self) -> None:
        """As `Walker.start`."""
        self._matcher = self._new_matcher(self._grammar)

    def fill(self) -> None:
        """As `Walker.fill`."""
        self._matcher.fill_next_token_bitmask(self._mask, 0)

    def consume(self, token_id: int) -> None:
        """As `Walker.consume`."""
        self._matcher.accept_token(token_id)


class OutlinesCoreWalker:
    """outlines_core, which is Outlines' default, by Outlines' own backend."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        from outlines.backends.outlines_core import OutlinesCoreBackend
        from outlines_core import Guide

        self._backend = OutlinesCoreBackend(_outlines_model(vocabulary))
        self._new_guide = Guide
        self._num_tokens = vocabulary.vocab_size
        self.words = np.zeros(-(-vocabulary.vocab_size // 32), np.uint32)

    def compile(self, schema: str) -> None:
        """As `Walker.compile`."""
        processor = _make(lambda: self._backend.get_json_schema_logits_processor(schema))
        self._index = processor.index
        self.start()
        self.fill()

    def start(self) -> None:
        """As `Walker.start`."""
        self._guide = self._new_guide(self._index)

    def fill(self) -> None:
        """As `Walker.fill`."""
        words = self.words
        self._guide.write_mask_into(words.ctypes.data, words.size, words.itemsize)

    def consume(self, token_id: int) -> None:
        """As `Walker.consume`."""
        self._guide.advance(token_id, return_tokens=False)


WALKERS: dict[str, Callable[[Vocabulary], Walker]] = {
    "inlay": InlayWalker,
    "llguidance": LLGuidanceWalker,
    "xgrammar": XGrammarWalker,
    "outlines_core": OutlinesCoreWalker,
}


def _make(build: Callable[[], Any]) -> Any:
    """What Outlines builds; whatever it raises is a refusal."""
    try:
        return build()
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise Refused(f"{error}") from None


def _outlines_model(vocabulary: Vocabulary) -> Any:
    """What Outlines takes for a model: a tokenizer."""
    from outlines.models import Transformers
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    wrap: Any = PreTrainedTokenizerFast
    tokenizer = Tokenizer.from_str(vocabulary.tokenizer_json)
    end = tokenizer.id_to_token(vocabulary.eos_token_ids[0])
    assert json.loads(vocabulary.tokenizer_json)["model"]["type"] == "BPE"
    no_model: Any = None
    return Transformers(no_model, wrap(tokenizer_object=tokenizer, eos_token=end, pad_token=end))
