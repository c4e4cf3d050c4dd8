"""How answers are to be made, with vLLM's names and defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inlay.llm.structured_outputs import StructuredOutputsParams
from inlay.offline.answer_grammar import AnswerGrammar, grammar_body
from inlay.offline.requests import Controls
from inlay_router.schemas import GenerateParameters, GrammarBody

_MAX_LOGPROBS = 20


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """vLLM's parameters. What inlay cannot do is refused by its name; nothing is ignored.

    Raises ValueError when a value is out of range, or beyond what inlay can do.
    """

    n: int = 1
    """Answers to give; the seeds of several follow one another."""
    best_of: int | None = None
    """Answers to make, of which the `n` that the model finds likeliest are given."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    """0 takes the likeliest token each time."""
    top_p: float = 1.0
    top_k: int = 0
    """0 or -1 for all tokens."""
    min_p: float = 0.0
    """Only 0."""
    seed: int | None = None
    """None: drawn from the seed of the LLM."""
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    """Only False."""
    max_tokens: int | None = 16
    """None: as many as the model has positions for."""
    min_tokens: int = 0
    """Only 0."""
    logprobs: int | None = None
    """Likeliest tokens to report beside each chosen one, at most 20; 0 for the chosen one alone."""
    prompt_logprobs: int | None = None
    """Only None or 0: the tokens of the prompt themselves."""
    skip_special_tokens: bool = True
    logit_bias: Mapping[int, float] | None = None
    structured_outputs: StructuredOutputsParams | None = None
    grammar: AnswerGrammar | None = None
    """What the answer is held to: a JSON schema (a dict, or text), a pydantic model, a regex (text,
    or compiled), or a list of texts to choose from."""
    _grammar_body: GrammarBody | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_unsupported()
        self._check_ranges()
        if self.grammar is not None and self.structured_outputs is not None:
            raise ValueError("`grammar` and `structured_outputs` cannot both be set")
        object.__setattr__(self, "_grammar_body", self._read_grammar())

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def num_made(self) -> int:
        """Answers that run for a prompt."""
        return self.n if self.best_of is None else self.best_of

    def controls(self, seed: int) -> Controls:
        """As the engine takes them; `seed` where none is set."""
        is_greedy = self.temperature == 0
        parameters = GenerateParameters(
            do_sample=not is_greedy,
            temperature=None if is_greedy else self.temperature,
            top_p=None if self.top_p == 1 else self.top_p,
            top_k=self.top_k if self.top_k > 0 else None,
            presence_penalty=self.presence_penalty or None,
            frequency_penalty=self.frequency_penalty or None,
            repetition_penalty=None if self.repetition_penalty == 1 else self.repetition_penalty,
            logit_bias=dict(self.logit_bias) if self.logit_bias else None,
            max_new_tokens=self.max_tokens,
            stop=list(self.stops) or None,
            seed=seed if self.seed is None else self.seed,
            top_n_tokens=self.logprobs,
            decoder_input_details=self.prompt_logprobs is not None,
            grammar=self._grammar_body,
        )
        return Controls(
            parameters=parameters,
            num_answers=self.num_made,
            is_greedy=is_greedy,
            stop_token_ids=frozenset(self.stop_token_ids or ()),
        )

    def clone(self, **changes: Any) -> "SamplingParams":
        """The same with some values changed."""
        return replace(self, **changes)

    def _read_grammar(self) -> GrammarBody | None:
        if self.grammar is not None:
            return grammar_body(self.grammar)
        return None if self.structured_outputs is None else self.structured_outputs.grammar_body()

    def _check_unsupported(self) -> None:
        for name, only in (("min_p", 0), ("min_tokens", 0), ("ignore_eos", False)):
            if (given := getattr(self, name)) != only:
                raise ValueError(f"`{name}` is not supported: it must be {only}. Given: {given}")
        if self.prompt_logprobs not in (None, 0):
            raise ValueError(
                "`prompt_logprobs` must be None or 0: only the prompt's own tokens are reported. "
                f"Given: {self.prompt_logprobs}"
            )

    def _check_ranges(self) -> None:
        if self.n < 1:
            raise ValueError(f"`n` must be at least 1. Given: {self.n}")
        if self.num_made < self.n:
            raise ValueError(f"`best_of` must be >= `n` ({self.n}). Given: {self.best_of}")
        if self.num_made > 1 and self.temperature == 0:
            raise ValueError(f"`n` must be 1 with a `temperature` of 0. Given: {self.num_made}")
        if self.temperature < 0:
            raise ValueError(f"`temperature` must be >= 0. Given: {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` must be > 0 and <= 1. Given: {self.top_p}")
        if self.top_k < -1:
            raise ValueError(f"`top_k` must be at least 1, or 0 or -1 for all. Given: {self.top_k}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"`max_tokens` must be at least 1. Given: {self.max_tokens}")
        if self.logprobs is not None and not 0 <= self.logprobs <= _MAX_LOGPROBS:
            raise ValueError(
                f"`logprobs` must be >= 0 and <= {_MAX_LOGPROBS}. Given: {self.logprobs}"
            )
