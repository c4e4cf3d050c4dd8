"""From a GenerationConfig to the controls of the engine."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from inlay.offline import answer_grammar
from inlay.offline.errors import RequestRefused
from inlay.offline.requests import Controls
from inlay.pipelines.configs import NUM_NEW_TOKENS, GenerationConfig
from inlay_router.exclusions import Exclusions
from inlay_router.schemas import GenerateParameters, GrammarBody

OWN_NAMES = {"`top_n_tokens`": "`logprobs`", "`seed`": "`random_seed`", "`stop`": "`stop_words`"}
"""What the engine says, in the words of a GenerationConfig."""


@contextmanager
def own_names() -> Iterator[None]:
    """Within, a RequestRefused names fields as a GenerationConfig does."""
    try:
        yield
    except RequestRefused as refusal:
        words = str(refusal)
        for theirs, ours in OWN_NAMES.items():
            words = words.replace(theirs, ours)
        raise RequestRefused(words) from refusal


def controls_of(config: GenerationConfig, stop_words: Sequence[str]) -> Controls:
    """`stop_words` are those of the chat template. Raises ValueError; the engine checks ranges."""
    _check_outputs(config)
    exclusions, grammar = _exclusions(config), _grammar(config.response_format)
    _check_together(config, stop_words, exclusions, grammar)
    is_greedy = config.do_sample is False or config.temperature == 0
    return Controls(
        parameters=_parameters(config, stop_words, grammar, is_greedy=is_greedy),
        is_greedy=is_greedy,
        stop_token_ids=frozenset(config.stop_token_ids or ()),
        exclusions=exclusions,
    )


def _check_outputs(config: GenerationConfig) -> None:
    """What a Response can hold. Raises ValueError."""
    if config.output_logits not in (None, "generation"):
        raise ValueError(
            "`output_logits` must be 'generation': logits of prompts are not kept. "
            f"Given: {config.output_logits!r}"
        )
    if config.output_last_hidden_state is not None:
        raise ValueError(
            "`output_last_hidden_state` must be None: hidden states stay in the shards. "
            f"Given: {config.output_last_hidden_state!r}"
        )
    if config.logprobs is not None and config.logprobs < 1:
        raise ValueError(f"`logprobs` must be at least 1. Given: {config.logprobs}")


def _check_together(
    config: GenerationConfig,
    stop_words: Sequence[str],
    exclusions: Exclusions,
    grammar: GrammarBody | None,
) -> None:
    """Raises ValueError."""
    if exclusions.min_tokens and (stop_words or config.stop_words):
        raise ValueError("`min_new_tokens` cannot be set together with `stop_words`")
    if grammar is not None and exclusions:
        raise ValueError(
            "`min_new_tokens`, `ignore_eos`, `bad_words` and `bad_token_ids` cannot be set with a "
            "`response_format`, which says itself what an answer holds"
        )


def _parameters(
    config: GenerationConfig,
    stop_words: Sequence[str],
    grammar: GrammarBody | None,
    *,
    is_greedy: bool,
) -> GenerateParameters:
    """In TGI's words; each that changes a draw asks for one."""
    temperature, min_p = config.temperature or None, config.min_p or None
    top_k = config.top_k or None
    top_p = None if config.top_p == 1 else config.top_p
    wants_draws = config.do_sample or any((temperature, top_k, top_p, min_p))
    return GenerateParameters(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        do_sample=bool(wants_draws) and not is_greedy,
        repetition_penalty=config.repetition_penalty,
        max_new_tokens=config.max_new_tokens or NUM_NEW_TOKENS,
        stop=[*stop_words, *(config.stop_words or ())],
        seed=config.random_seed,
        top_n_tokens=config.logprobs,
        grammar=grammar,
    )


def _exclusions(config: GenerationConfig) -> Exclusions:
    """Raises ValueError."""
    min_tokens = config.min_new_tokens or 0
    max_tokens = config.max_new_tokens or NUM_NEW_TOKENS
    if min_tokens and not 0 < min_tokens <= max_tokens:
        raise ValueError(
            f"`min_new_tokens` must be >= 0 and <= `max_new_tokens` ({max_tokens}). "
            f"Given: {min_tokens}"
        )
    if any(not word.strip() for word in config.bad_words or ()):
        raise ValueError("`bad_words` must hold texts, none of them empty")
    return Exclusions(
        min_tokens=min_tokens,
        ignores_eos=config.ignore_eos,
        bad_words=tuple(config.bad_words or ()),
        bad_token_ids=tuple(config.bad_token_ids or ()),
    )


def _grammar(given: dict[str, Any] | None) -> GrammarBody | None:
    """LMDeploy's spellings. Raises ValueError."""
    match given:
        case None | {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return answer_grammar.schema(json.dumps(schema))
        case {"type": "json_object"}:
            return answer_grammar.schema('{"type": "object"}')
        case {"type": "regex_schema", "regex_schema": str(pattern)}:
            return answer_grammar.regex(pattern)
    raise ValueError(
        "`response_format` must be {'type': 'json_schema', 'json_schema': {'schema': …}}, "
        "{'type': 'json_object'}, {'type': 'regex_schema', 'regex_schema': …} or "
        f"{{'type': 'text'}}. Given: {given!r:.200}"
    )
