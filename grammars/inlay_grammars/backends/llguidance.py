"""Outlines' llguidance backend: every language, strict, and quick to compile."""

import copy
import json
from contextlib import suppress
from typing import Any, NamedTuple

import llguidance.hf
from llguidance import LLParserLimits, LLTokenizer
from outlines.backends.llguidance import LLGuidanceBackend, LLGuidanceLogitsProcessor
from outlines.models import SteerableModel, Transformers

from inlay_grammars.backends.llguidance_state import LLGuidanceTemplate
from inlay_grammars.backends.panics import is_panic
from inlay_grammars.backends.reasons import OVERLAP, reason
from inlay_grammars.backends.tokens import ModelTokens, UnsupportedTokenizer
from inlay_grammars.schema import name_of, refuse_leniency, with_options
from inlay_grammars.schemas.enforcement import not_enforced
from inlay_grammars.schemas.rewriting import make_exclusive
from inlay_grammars.schemas.tree import Root, reachable
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError


class Items(NamedTuple):
    """Bounds on the work of Earley's algorithm."""

    row: int
    """Ways to go on at one place."""
    step: int
    """Of all places that one mask looks at."""


MAX_LEXER_STATES = 50_000
"""Of one grammar, over all its sequences. Each takes about 1 kB."""
MAX_SCHEMA_ITEMS = Items(row=8000, step=50_000)
"""500 optional properties have 2007 ways to go on at one place."""
MAX_LARK_ITEMS = Items(row=1000, step=10_000)
"""Half a millisecond's worth. An ambiguous grammar, which would stall its whole batch, ends there
with an error."""
MAX_TRIES = 16
"""Compilations to find out which `oneOf` is the one that is refused."""


class LLGuidance(LLGuidanceBackend):
    """Three things differ from Outlines' own: a mask is as wide as the logits, every end token of
    the model ends a grammar, and a regex may use `\\d`, `\\w`, `\\s` in their ASCII sense, as in
    TGI."""

    def __init__(self, tokens: ModelTokens) -> None:
        """Takes about 1.5 s and 200 MB for 131,072 tokens.

        Raises:
            UnsupportedTokenizer: llguidance cannot read it.
        """
        self._tokens = tokens
        super().__init__(tokens.model)
        is_special = self.llg_tokenizer.is_special_token
        self.text_end_ids = tuple(i for i in tokens.eos_token_ids if not is_special(i))
        """End tokens that are plain text to llguidance, which would allow them inside a string."""

    def _create_llg_tokenizer(self, model: SteerableModel) -> LLTokenizer:
        assert isinstance(model, Transformers)
        tokenizer: Any = model.hf_tokenizer
        vocab_size, eos_token_ids = self._tokens.vocab_size, list(self._tokens.eos_token_ids)
        try:
            return llguidance.hf.from_tokenizer(
                tokenizer, n_vocab=vocab_size, eos_token=eos_token_ids
            )
        except BaseException as error:  # a panic: tokens over 255 bytes
            if not is_panic(error):
                raise
            raise UnsupportedTokenizer(f"the tokenizer is not supported: {error}") from error

    def compile(self, source: Source) -> LLGuidanceTemplate:
        """As `interface.Backend.compile`. Takes about a millisecond."""
        try:
            if source.language == "json":
                return self._compile_schema(json.loads(source.text), source)
            return self._template(self._text_processor(source), MAX_LARK_ITEMS)
        except ValueError as error:
            if isinstance(error, GrammarError):
                raise
            raise GrammarError(f"the grammar cannot be compiled: {reason(str(error))}") from error

    def _compile_schema(self, schema: Root, source: Source) -> LLGuidanceTemplate:
        try:
            return self._compile_strictly(schema, source)
        except GrammarError as refusal:
            if source.is_strict:
                raise
            template = self._template(self._schema_processor(schema, source, is_strict=False))
            template.warnings = tuple(map(name_of, not_enforced(schema, "llguidance")))
            template.warnings = template.warnings or (str(refusal),)
            return template

    def _compile_strictly(self, schema: Root, source: Source) -> LLGuidanceTemplate:
        refuse_leniency(schema)
        try:
            return self._template(self._schema_processor(schema, source))
        except GrammarError as error:
            if OVERLAP not in str(error):
                raise
        exclusive = copy.deepcopy(schema)
        make_exclusive(exclusive)
        try:
            return self._template(self._schema_processor(exclusive, source))
        except GrammarError as error:
            if OVERLAP not in str(error):
                raise
            path = self._overlapping(exclusive, source)
            raise GrammarError(f"{name_of(path)} of the JSON schema: {OVERLAP}") from error

    def _overlapping(self, schema: Root, source: Source) -> str:
        """The pointer to a `oneOf` that llguidance refuses."""
        paths = [path for path, part in reachable(schema) if "oneOf" in part]
        for tried in paths[:MAX_TRIES]:
            others = copy.deepcopy(schema)
            for path, part in list(reachable(others)):
                if path != tried and "oneOf" in part:
                    part["anyOf"] = part.pop("oneOf")
            with suppress(GrammarError):
                self._template(self._schema_processor(others, source))
                continue
            return f"{tried}/oneOf"
        return f"{paths[0]}/oneOf"

    def _template(
        self, processor: LLGuidanceLogitsProcessor, max_items: Items = MAX_SCHEMA_ITEMS
    ) -> LLGuidanceTemplate:
        limits = LLParserLimits(
            max_lexer_states=MAX_LEXER_STATES,
            max_items_in_row=max_items.row,
            step_max_items=max_items.step,
            verbose_errors=False,
        )
        return LLGuidanceTemplate(processor, limits, self.text_end_ids)

    def _schema_processor(
        self, schema: Root, source: Source, *, is_strict: bool = True
    ) -> LLGuidanceLogitsProcessor:
        text = with_options(schema, source.whitespace, is_strict=is_strict)
        return self.get_json_schema_logits_processor(text)

    def _text_processor(self, source: Source) -> LLGuidanceLogitsProcessor:
        if source.language == "lark":
            return self._lark_processor(source.text)
        # Outlines' own would refuse anchors, and take `\d` for all of Unicode's digits.
        return self._lark_processor(f"start: /{self.llg.regex_to_lark(source.text, 'dws')}/\n")

    def _lark_processor(self, lark: str) -> LLGuidanceLogitsProcessor:
        """Outlines' own would first try to convert it from GBNF, in Python, for half a minute."""
        grammar = self.llg.grammar_from("lark", lark)
        return LLGuidanceLogitsProcessor(grammar, self.llg_tokenizer, self.tensor_library_name)
