"""From what a client asked for to a grammar that matchers are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from outlines.backends.llguidance import LLGuidanceLogitsProcessor

from inlay_grammars.backend import Backend
from inlay_grammars.cache import RecentlyUsed
from inlay_grammars.matcher import Matcher
from inlay_grammars.schema import engine_schema
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits, check_size
from inlay_grammars.template import Template, reason


@dataclass(frozen=True, slots=True)
class Grammar:
    """A compiled constraint; any number of sequences may follow it at once."""

    processor: LLGuidanceLogitsProcessor
    """Outlines' logits processor of this grammar. Slow for batches: see `mask.BatchMask`."""
    template: Template

    def matcher(self) -> Matcher:
        """A matcher for a new sequence. Takes 1-3 µs."""
        return Matcher(self.template)


class GrammarCompiler:
    """Compiles grammars for one model, and keeps those used lately. For any thread."""

    def __init__(
        self,
        tokenizer_json: str,
        vocab_size: int,
        eos_token_ids: Sequence[int],
        *,
        limits: SpecLimits | None = None,
        max_cached: int = 256,
    ) -> None:
        """Takes about 1.5 s and 200 MB for 131,072 tokens.

        Args:
            tokenizer_json: what `tokenizers.Tokenizer.to_str()` gives.
            vocab_size: width of the logits, padding included.
            eos_token_ids: every token that ends an answer.
            limits: how large a grammar may be.
            max_cached: grammars and refusals kept, each.

        Raises:
            UnsupportedTokenizer: grammars cannot be used with this tokenizer.
        """
        self._backend = Backend(tokenizer_json, vocab_size, eos_token_ids)
        self._text_end_ids = self._backend.text_end_ids
        self._limits = limits or SpecLimits()
        self._grammars: RecentlyUsed[Grammar] = RecentlyUsed(max_cached)
        self._refusals: RecentlyUsed[str] = RecentlyUsed(max_cached)
        self._lock = Lock()

    def compile(self, spec: GrammarSpec) -> Grammar:
        """The grammar, from the cache if it is there. A new one takes about a millisecond.

        A hostile one can take seconds or kill the process: see `pool.CompilePool`.

        Raises:
            GrammarError: it is over a limit, cannot be compiled, or allows no answer at all.
        """
        check_size(spec, self._limits)
        key = spec.digest()
        with self._lock:
            grammar, refusal = self._grammars.get(key), self._refusals.get(key)
        if refusal is not None:
            raise GrammarError(refusal)
        return grammar or self._compile_new(spec, key)

    def _compile_new(self, spec: GrammarSpec, key: bytes) -> Grammar:
        try:
            processor = self._processor(spec)
            text, tokenizer = processor.grammar, processor.llg_tokenizer
            grammar = Grammar(processor, Template(tokenizer, text, self._text_end_ids))
        except GrammarError as error:
            with self._lock:
                self._refusals.put(key, str(error))
            raise
        with self._lock:
            self._grammars.put(key, grammar)
        return grammar

    def _processor(self, spec: GrammarSpec) -> LLGuidanceLogitsProcessor:
        try:
            if spec.kind == "regex":
                return self._backend.get_ascii_regex_logits_processor(spec.value)
            if spec.kind == "lark":
                return self._backend.get_lark_logits_processor(spec.value)
            schema = engine_schema(spec.value, self._limits)
            return self._backend.get_json_schema_logits_processor(schema)
        except GrammarError:
            raise
        except ValueError as error:
            raise GrammarError(f"the grammar cannot be compiled: {reason(str(error))}") from error
