"""The JSON of requests and answers, key for key as TGI writes it.

Requests: unknown keys are refused with their name, so that nothing a client asks for is silently
ignored; null means absent for every key. Answers: the order of the fields is the order of the keys.
"""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType, field


class GrammarBody(Struct, frozen=True):
    """`{"type": "json" | "json_schema" | "regex" | "choice" | "grammar", "value": …}`, or
    `{"type": "json_object"}`, which may have a `value` as `json`."""

    type: str
    value: Raw = field(default_factory=Raw)
    """Empty if it is absent."""


class GenerateParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """`parameters` as the client sent them; ranges are not checked yet."""

    best_of: int | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    do_sample: bool | None = None
    max_new_tokens: int | None = None
    return_full_text: bool | None = None
    stop: str | list[str] | None = None
    truncate: int | None = None
    watermark: bool | None = None
    details: bool | None = None
    decoder_input_details: bool | None = None
    seed: int | None = None
    top_n_tokens: int | None = None
    grammar: GrammarBody | None = None
    adapter_id: str | None = None
    max_time: float | None = None
    """Seconds that the request may take from receipt to its last byte; not one of TGI's."""
    min_p: float | None = None
    """Of a draw: tokens are left out that are less likely than this share of the likeliest; not
    one of TGI's."""


class GenerateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `/generate`, `/generate_stream` and `/`; only `/` looks at `stream`."""

    inputs: str
    parameters: GenerateParameters | None = None
    stream: bool | None = None
    model: str | None = None
    """Without effect: the server has one model."""
    options: dict[str, Raw] | None = None
    """Without effect: how the Hub's own API should cache and wait."""

    @property
    def max_time(self) -> float | None:
        """Of the parameters, if there are any."""
        return None if self.parameters is None else self.parameters.max_time


class TokenBody(Struct, frozen=True):
    """One token; NaN is written as null."""

    id: int
    text: str
    logprob: float
    special: bool


class PrefillTokenBody(Struct, frozen=True):
    """One token of the prompt; the first has no log-probability."""

    id: int
    text: str
    logprob: float | None


class SequenceBody(Struct, frozen=True):
    """One of the sequences that `best_of` did not choose."""

    generated_text: str
    finish_reason: str
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillTokenBody]
    tokens: list[TokenBody]
    top_tokens: list[list[TokenBody]] | UnsetType = UNSET
    grammar_shortened: bool | UnsetType = UNSET
    """As in `DetailsBody`."""


class DetailsBody(Struct, frozen=True):
    """How an answer came about."""

    finish_reason: str
    generated_tokens: int
    seed: int | None
    prefill: list[PrefillTokenBody]
    tokens: list[TokenBody]
    best_of_sequences: list[SequenceBody] | UnsetType = UNSET
    top_tokens: list[list[TokenBody]] | UnsetType = UNSET
    cached_tokens: int | UnsetType = UNSET
    """Tokens of the prompt found in the prefix cache; not in TGI's answers, and left out if 0."""
    grammar_shortened: bool | UnsetType = UNSET
    """True when tokens were changed so that the answer is complete within `max_new_tokens`; not in
    TGI's answers, and left out otherwise."""
    grammar_warnings: Sequence[str] | UnsetType = UNSET
    """What the grammar says and the answer need not follow; not in TGI's answers, and left out
    unless `strict` is false and something is not enforced."""


class GenerateAnswer(Struct, frozen=True):
    """Answer of `/generate`; `/` wraps it in an array."""

    generated_text: str
    details: DetailsBody | UnsetType = UNSET


class StreamDetailsBody(Struct, frozen=True):
    """`details` of the last event of a stream."""

    finish_reason: str
    generated_tokens: int
    seed: int | None
    input_length: int
    cached_tokens: int | UnsetType = UNSET
    """Tokens of the prompt found in the prefix cache; not in TGI's answers, and left out if 0."""
    grammar_shortened: bool | UnsetType = UNSET
    """True when tokens were changed so that the answer is complete within `max_new_tokens`; not in
    TGI's answers, and left out otherwise."""
    grammar_warnings: Sequence[str] | UnsetType = UNSET
    """What the grammar says and the answer need not follow; not in TGI's answers, and left out
    unless `strict` is false and something is not enforced."""


class StreamEvent(Struct, frozen=True, kw_only=True):
    """One event of `/generate_stream`; the last has a text, and details when asked for."""

    index: int
    token: TokenBody
    top_tokens: list[TokenBody] | UnsetType = UNSET
    generated_text: str | None = None
    details: StreamDetailsBody | None = None


class ErrorBody(Struct, frozen=True):
    """Every error, whatever its status."""

    error: str
    error_type: str


class OpenAIErrorBody(Struct, frozen=True):
    """What went wrong, inside a stream of OpenAI's routes."""

    message: str
    http_status_code: int


class OpenAIErrorEvent(Struct, frozen=True):
    """An error after the first byte of a stream of OpenAI's routes."""

    error: OpenAIErrorBody


class OpenAIRefusalBody(Struct, frozen=True):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIRefusal(Struct, frozen=True):
    """Every error of `/v1` for OpenAI's own clients."""

    error: OpenAIRefusalBody


class InfoAnswer(Struct, frozen=True):
    """Answer of `/info`: TGI's keys, then ours."""

    model_id: str
    model_sha: str | None
    model_pipeline_tag: str | None
    max_concurrent_requests: int
    max_best_of: int
    max_stop_sequences: int
    max_input_tokens: int
    max_total_tokens: int
    validation_workers: int
    max_client_batch_size: int
    router: str
    version: str
    sha: str | None
    docker_label: str | None
    model_type: str
    model_dtype: str
    model_device_type: str
    num_shard: int
    max_batch_prefill_tokens: int
    max_batch_size: int
    takes_images: bool
    has_grammars: bool


class ModelBody(Struct, frozen=True):
    """One model, in OpenAI's shape."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""


class ModelsAnswer(Struct, frozen=True):
    """Answer of `/v1/models`."""

    data: list[ModelBody]
    object: str = "list"
