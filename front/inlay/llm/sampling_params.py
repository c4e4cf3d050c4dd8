"""How answers are to be made, with vLLM's names and defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inlay.llm.structured_outputs import StructuredOutputsParams
from inlay.offline.answer_grammar import AnswerGrammar, grammar_body
from inlay.offline.requests import Controls
from inlay_router.exclusions import Exclusions
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
    """Leave out tokens less likely than this share of the likeliest; before `top_k` and `top_p`."""
    seed: int | None = None
    """None: drawn from the seed of the LLM."""
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    include_stop_str_in_output: bool = False
    bad_words: Sequence[str] | None = None
    """Texts that the answer does not hold, as the tokenizer writes them."""
    allowed_token_ids: Sequence[int] | None = None
    """The only tokens of the answer; end tokens too come only if they are named."""
    ignore_eos: bool = False
    """Whether the model's end tokens are never chosen, so that an answer has `max_tokens`."""
    max_tokens: int | None = 16
    """None: as many as the model has positions for."""
    min_tokens: int = 0
    """End tokens and `stop_token_ids` are not among the first so many. Not together with `stop`."""
    logprobs: int | None = None
    """Likeliest tokens to report beside each chosen one, at most 20; 0 for the chosen one alone."""
    prompt_logprobs: int | None = None
    """Likeliest tokens to report beside each one of the prompt, at most 20; 0 for the prompt's own
    alone."""
    truncate_prompt_tokens: int | None = None
    """Keep this many tokens at the end of a prompt without images."""
    skip_special_tokens: bool = True
    logit_bias: Mapping[int, float] | None = None
    structured_outputs: StructuredOutputsParams | None = None
    guided_decoding: StructuredOutputsParams | None = None
    """The same, as vLLM called it before."""
    grammar: AnswerGrammar | None = None
    """What the answer is held to: a JSON schema (a dict, or text), a pydantic model, a regex (text,
    or compiled), or a list of texts to choose from."""
    _grammar_body: GrammarBody | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_ranges()
        object.__setattr__(self, "_grammar_body", self._read_grammar())
        if self._grammar_body is not None and self._exclusions:
            raise ValueError(
                "`min_tokens`, `ignore_eos`, `bad_words` and `allowed_token_ids` cannot be set "
                "with a grammar, which says itself what an answer holds"
            )

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
            min_p=self.min_p or None,
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
            exclusions=self._exclusions,
            num_prompt_top_tokens=self.prompt_logprobs or 0,
            truncate=self.truncate_prompt_tokens,
        )

    @property
    def _exclusions(self) -> Exclusions:
        return Exclusions(
            min_tokens=self.min_tokens,
            ignores_eos=self.ignore_eos,
            bad_words=tuple(self.bad_words or ()),
            allowed_token_ids=tuple(self.allowed_token_ids or ()),
        )

    def clone(self, **changes: Any) -> "SamplingParams":
        """The same with some values changed."""
        return replace(self, **changes)

    def _read_grammar(self) -> GrammarBody | None:
        names = ("grammar", "structured_outputs", "guided_decoding")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"`{'` and `'.join(given)}` cannot both be set")
        if self.grammar is not None:
            return grammar_body(self.grammar)
        params = self.structured_outputs or self.guided_decoding
        return None if params is None else params.grammar_body()

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
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"`min_p` must be >= 0 and <= 1. Given: {self.min_p}")
        if any(not word.strip() for word in self.bad_words or ()):
            raise ValueError("`bad_words` must hold texts, none of them empty")
        self._check_lengths()

    def _check_lengths(self) -> None:
        if self.min_tokens and self.stops:
            raise ValueError("`min_tokens` cannot be set together with `stop`")
        if self.truncate_prompt_tokens is not None and self.truncate_prompt_tokens < 1:
            raise ValueError(
                f"`truncate_prompt_tokens` must be at least 1. Given: {self.truncate_prompt_tokens}"
            )
        if self.min_tokens < 0:
            raise ValueError(f"`min_tokens` must be >= 0. Given: {self.min_tokens}")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(
                f"`min_tokens` must be <= `max_tokens` ({self.max_tokens}). "
                f"Given: {self.min_tokens}"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"`max_tokens` must be at least 1. Given: {self.max_tokens}")
        for name in ("logprobs", "prompt_logprobs"):
            if not 0 <= (given := getattr(self, name) or 0) <= _MAX_LOGPROBS:
                raise ValueError(f"`{name}` must be >= 0 and <= {_MAX_LOGPROBS}. Given: {given}")
