"""From what a client asked for to a grammar that matchers are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from outlines.processors.base_logits_processor import OutlinesLogitsProcessor

from inlay_grammars.backends.chosen import Backends
from inlay_grammars.backends.interface import Template
from inlay_grammars.backends.tokens import ModelTokens
from inlay_grammars.cache import RecentlyUsed
from inlay_grammars.matcher import Matcher
from inlay_grammars.options import BackendChoice, BackendName
from inlay_grammars.reading import source_of
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits, check_size

MIB = 1024 * 1024
MAX_CACHED = 4096
"""Grammars and refusals kept, each."""
MAX_REFUSAL_BYTES = 2 * MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """A compiled constraint; any number of sequences may follow it at once."""

    template: Template
    source: Source
    """What was compiled."""
    backend: BackendName
    """Which of Outlines' backends compiled it."""

    @property
    def processor(self) -> OutlinesLogitsProcessor:
        """Outlines' logits processor of this grammar. Slow for batches: see `mask.BatchMask`."""
        return self.template.processor

    def matcher(self) -> Matcher:
        """A matcher for a new sequence. Takes 1-3 µs."""
        return Matcher(self.template.start())


class GrammarCompiler:
    """Compiles grammars for one model, and keeps those used lately. For any thread."""

    def __init__(
        self,
        tokenizer_json: str,
        vocab_size: int,
        eos_token_ids: Sequence[int],
        *,
        limits: SpecLimits | None = None,
        max_cached_bytes: int = 256 * MIB,
    ) -> None:
        """Takes about 1.5 s and 200 MB for 131,072 tokens.

        Args:
            tokenizer_json: what `tokenizers.Tokenizer.to_str()` gives.
            vocab_size: width of the logits, padding included.
            eos_token_ids: every token that ends an answer.
            limits: how large a grammar may be.
            max_cached_bytes: of compiled grammars, by estimate; the one in use may be larger.

        Raises:
            UnsupportedTokenizer: grammars cannot be used with this tokenizer.
        """
        self.tokens = ModelTokens(tokenizer_json, vocab_size, eos_token_ids)
        """What grammars are compiled for."""
        self._backends = Backends(self.tokens)
        self._limits = limits or SpecLimits()
        self._grammars: RecentlyUsed[Grammar] = RecentlyUsed(MAX_CACHED, max_cached_bytes)
        self._refusals: RecentlyUsed[str] = RecentlyUsed(MAX_CACHED, MAX_REFUSAL_BYTES)
        self._lock = Lock()

    def make(self, backend: BackendChoice) -> None:
        """Make a backend now instead of with the first grammar for it.

        Raises:
            ImportError: it is not installed.
        """
        if backend != "auto":
            self._backends.get(backend)

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
            grammar = self._compile(spec)
        except GrammarError as error:
            with self._lock:
                self._refusals.put(key, str(error), len(str(error)))
            raise
        with self._lock:
            self._grammars.put(key, grammar, grammar.template.num_bytes)
        return grammar

    def _compile(self, spec: GrammarSpec) -> Grammar:
        source = source_of(spec, self._limits)
        template, backend = self._backends.compile(source, spec.backend)
        return Grammar(template=template, source=source, backend=backend)
