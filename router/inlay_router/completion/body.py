"""The JSON of `/v1/completions`: OpenAI's fields, and TGI's, which its own clients send there.

Unknown keys are refused with their name, and null means absent for every key.
"""

from typing import Any

from msgspec import Struct

from inlay_router.api.asked_grammar import ResponseFormat, StructuredOutputs
from inlay_router.api.openai import StreamOptions, UsageBody
from inlay_router.schemas import GrammarBody


class CompletionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `/v1/completions`."""

    prompt: str | list[str | int | list[int]]
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    best_of: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    user: str | None = None
    do_sample: bool | None = None
    repetition_penalty: float | None = None
    top_k: int | None = None
    typical_p: float | None = None
    min_p: float | None = None
    truncate: int | None = None
    watermark: bool | None = None
    return_full_text: bool | None = None
    grammar: GrammarBody | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    """vLLM's, as the next four."""
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    ignore_eos: bool | None = None
    """vLLM's, as the next four: no end token is chosen, so an answer has all of its length."""
    min_tokens: int | None = None
    """No end token is among the first so many."""
    stop_token_ids: list[int] | None = None
    """End the answer, beside the model's own end tokens, and are left out of its text."""
    bad_words: list[str] | None = None
    """Texts that the answer does not hold, as the tokenizer writes them."""
    allowed_token_ids: list[int] | None = None
    """The only tokens of the answer."""
    adapter_id: str | None = None
    max_time: float | None = None
    """Seconds that the request may take from receipt to its last byte."""
    details: bool | None = None
    """Without effect, as the next two: the answer has no place for them; `logprobs` has."""
    decoder_input_details: bool | None = None
    top_n_tokens: int | None = None


class CompletionLogprobs(Struct, frozen=True):
    """Parallel arrays with one entry a token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(Struct, frozen=True):
    """One completion of one prompt, or a piece of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: str | None


class CompletionAnswer(Struct, frozen=True):
    """Answer of `/v1/completions`, and each event of its stream."""

    object: str
    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: UsageBody | None
