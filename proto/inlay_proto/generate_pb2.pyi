from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_LENGTH: _ClassVar[EndReason]
    END_REASON_EOS_TOKEN: _ClassVar[EndReason]
END_REASON_UNSPECIFIED: EndReason
END_REASON_LENGTH: EndReason
END_REASON_EOS_TOKEN: EndReason

class HealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthReply(_message.Message):
    __slots__ = ("is_ready", "status")
    IS_READY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    is_ready: bool
    status: str
    def __init__(self, is_ready: _Optional[bool] = ..., status: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelFacts(_message.Message):
    __slots__ = ("model_id", "model_type", "dtype", "device", "device_name", "rank", "num_shards", "num_blocks", "block_size", "max_position_embeddings", "vocab_size", "eos_token_ids", "tokenizer_json", "takes_images", "chat_template", "bos_token", "eos_token", "bidirectional_images", "named_chat_templates", "special_tokens", "pool_bytes", "placeholders", "is_recurrent", "max_sequences", "state_bytes")
    class NamedChatTemplatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SpecialTokensEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    NUM_SHARDS_FIELD_NUMBER: _ClassVar[int]
    NUM_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_POSITION_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_JSON_FIELD_NUMBER: _ClassVar[int]
    TAKES_IMAGES_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    BOS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EOS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_IMAGES_FIELD_NUMBER: _ClassVar[int]
    NAMED_CHAT_TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    POOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    PLACEHOLDERS_FIELD_NUMBER: _ClassVar[int]
    IS_RECURRENT_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    model_type: str
    dtype: str
    device: str
    device_name: str
    rank: int
    num_shards: int
    num_blocks: int
    block_size: int
    max_position_embeddings: int
    vocab_size: int
    eos_token_ids: _containers.RepeatedScalarFieldContainer[int]
    tokenizer_json: str
    takes_images: bool
    chat_template: str
    bos_token: str
    eos_token: str
    bidirectional_images: bool
    named_chat_templates: _containers.ScalarMap[str, str]
    special_tokens: _containers.ScalarMap[str, str]
    pool_bytes: int
    placeholders: _containers.RepeatedScalarFieldContainer[str]
    is_recurrent: bool
    max_sequences: int
    state_bytes: int
    def __init__(self, model_id: _Optional[str] = ..., model_type: _Optional[str] = ..., dtype: _Optional[str] = ..., device: _Optional[str] = ..., device_name: _Optional[str] = ..., rank: _Optional[int] = ..., num_shards: _Optional[int] = ..., num_blocks: _Optional[int] = ..., block_size: _Optional[int] = ..., max_position_embeddings: _Optional[int] = ..., vocab_size: _Optional[int] = ..., eos_token_ids: _Optional[_Iterable[int]] = ..., tokenizer_json: _Optional[str] = ..., takes_images: _Optional[bool] = ..., chat_template: _Optional[str] = ..., bos_token: _Optional[str] = ..., eos_token: _Optional[str] = ..., bidirectional_images: _Optional[bool] = ..., named_chat_templates: _Optional[_Mapping[str, str]] = ..., special_tokens: _Optional[_Mapping[str, str]] = ..., pool_bytes: _Optional[int] = ..., placeholders: _Optional[_Iterable[str]] = ..., is_recurrent: _Optional[bool] = ..., max_sequences: _Optional[int] = ..., state_bytes: _Optional[int] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("data", "digest")
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    digest: bytes
    def __init__(self, data: _Optional[bytes] = ..., digest: _Optional[bytes] = ...) -> None: ...

class ImageEmbeds(_message.Message):
    __slots__ = ("data", "dtype", "num_tokens", "width", "digest")
    DATA_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    dtype: str
    num_tokens: int
    width: int
    digest: bytes
    def __init__(self, data: _Optional[bytes] = ..., dtype: _Optional[str] = ..., num_tokens: _Optional[int] = ..., width: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("text", "image", "embeds")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    image: Image
    embeds: ImageEmbeds
    def __init__(self, text: _Optional[str] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., embeds: _Optional[_Union[ImageEmbeds, _Mapping]] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("chunks", "add_special_tokens")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    ADD_SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    add_special_tokens: bool
    def __init__(self, chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., add_special_tokens: _Optional[bool] = ...) -> None: ...

class PrepareReply(_message.Message):
    __slots__ = ("token_ids", "images", "features_key", "timings", "num_known_images")
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_KEY_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    NUM_KNOWN_IMAGES_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    images: _containers.RepeatedCompositeFieldContainer[ImagePlace]
    features_key: bytes
    timings: PrepareTimings
    num_known_images: int
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., images: _Optional[_Iterable[_Union[ImagePlace, _Mapping]]] = ..., features_key: _Optional[bytes] = ..., timings: _Optional[_Union[PrepareTimings, _Mapping]] = ..., num_known_images: _Optional[int] = ...) -> None: ...

class PrepareTimings(_message.Message):
    __slots__ = ("queue", "prepare", "encode")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    queue: int
    prepare: int
    encode: int
    def __init__(self, queue: _Optional[int] = ..., prepare: _Optional[int] = ..., encode: _Optional[int] = ...) -> None: ...

class ImagePlace(_message.Message):
    __slots__ = ("start", "length", "digest")
    START_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    start: int
    length: int
    digest: bytes
    def __init__(self, start: _Optional[int] = ..., length: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("do_sample", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "frequency_penalty", "seed", "watermark", "presence_penalty", "biased_token_ids", "token_biases", "min_p", "min_tokens", "late_token_ids", "bad_runs", "allowed_token_ids")
    DO_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TYPICAL_P_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    BIASED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BIASES_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LATE_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    BAD_RUNS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    typical_p: float
    repetition_penalty: float
    frequency_penalty: float
    seed: int
    watermark: bool
    presence_penalty: float
    biased_token_ids: _containers.RepeatedScalarFieldContainer[int]
    token_biases: _containers.RepeatedScalarFieldContainer[float]
    min_p: float
    min_tokens: int
    late_token_ids: _containers.RepeatedScalarFieldContainer[int]
    bad_runs: _containers.RepeatedCompositeFieldContainer[TokenRun]
    allowed_token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, do_sample: _Optional[bool] = ..., temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., typical_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., seed: _Optional[int] = ..., watermark: _Optional[bool] = ..., presence_penalty: _Optional[float] = ..., biased_token_ids: _Optional[_Iterable[int]] = ..., token_biases: _Optional[_Iterable[float]] = ..., min_p: _Optional[float] = ..., min_tokens: _Optional[int] = ..., late_token_ids: _Optional[_Iterable[int]] = ..., bad_runs: _Optional[_Iterable[_Union[TokenRun, _Mapping]]] = ..., allowed_token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class TokenRun(_message.Message):
    __slots__ = ("token_ids",)
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Grammar(_message.Message):
    __slots__ = ("kind", "value", "backend", "whitespace", "is_lenient")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Grammar.Kind]
        KIND_JSON: _ClassVar[Grammar.Kind]
        KIND_REGEX: _ClassVar[Grammar.Kind]
        KIND_LARK: _ClassVar[Grammar.Kind]
        KIND_CHOICE: _ClassVar[Grammar.Kind]
        KIND_GRAMMAR: _ClassVar[Grammar.Kind]
    KIND_UNSPECIFIED: Grammar.Kind
    KIND_JSON: Grammar.Kind
    KIND_REGEX: Grammar.Kind
    KIND_LARK: Grammar.Kind
    KIND_CHOICE: Grammar.Kind
    KIND_GRAMMAR: Grammar.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    WHITESPACE_FIELD_NUMBER: _ClassVar[int]
    IS_LENIENT_FIELD_NUMBER: _ClassVar[int]
    kind: Grammar.Kind
    value: str
    backend: str
    whitespace: str
    is_lenient: bool
    def __init__(self, kind: _Optional[_Union[Grammar.Kind, str]] = ..., value: _Optional[str] = ..., backend: _Optional[str] = ..., whitespace: _Optional[str] = ..., is_lenient: _Optional[bool] = ...) -> None: ...

class Finishing(_message.Message):
    __slots__ = ("first_plan", "has_shortened")
    FIRST_PLAN_FIELD_NUMBER: _ClassVar[int]
    HAS_SHORTENED_FIELD_NUMBER: _ClassVar[int]
    first_plan: _containers.RepeatedScalarFieldContainer[int]
    has_shortened: bool
    def __init__(self, first_plan: _Optional[_Iterable[int]] = ..., has_shortened: _Optional[bool] = ...) -> None: ...

class Forcing(_message.Message):
    __slots__ = ("max_tokens", "num_spare_slots")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_SPARE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    num_spare_slots: int
    def __init__(self, max_tokens: _Optional[int] = ..., num_spare_slots: _Optional[int] = ...) -> None: ...

class Sequence(_message.Message):
    __slots__ = ("sequence_id", "token_ids", "num_prompt_tokens", "max_new_tokens", "features_key", "sampling", "grammar", "top_n_tokens", "prompt_logprobs", "num_cached_tokens", "logits", "finishing", "forcing", "prompt_top_tokens")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    NUM_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_KEY_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    GRAMMAR_FIELD_NUMBER: _ClassVar[int]
    TOP_N_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    NUM_CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    FINISHING_FIELD_NUMBER: _ClassVar[int]
    FORCING_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    num_prompt_tokens: int
    max_new_tokens: int
    features_key: bytes
    sampling: Sampling
    grammar: Grammar
    top_n_tokens: int
    prompt_logprobs: bool
    num_cached_tokens: int
    logits: bool
    finishing: Finishing
    forcing: Forcing
    prompt_top_tokens: int
    def __init__(self, sequence_id: _Optional[int] = ..., token_ids: _Optional[_Iterable[int]] = ..., num_prompt_tokens: _Optional[int] = ..., max_new_tokens: _Optional[int] = ..., features_key: _Optional[bytes] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., grammar: _Optional[_Union[Grammar, _Mapping]] = ..., top_n_tokens: _Optional[int] = ..., prompt_logprobs: _Optional[bool] = ..., num_cached_tokens: _Optional[int] = ..., logits: _Optional[bool] = ..., finishing: _Optional[_Union[Finishing, _Mapping]] = ..., forcing: _Optional[_Union[Forcing, _Mapping]] = ..., prompt_top_tokens: _Optional[int] = ...) -> None: ...

class Rows(_message.Message):
    __slots__ = ("sequence_ids", "num_tokens")
    SEQUENCE_IDS_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    sequence_ids: _containers.RepeatedScalarFieldContainer[int]
    num_tokens: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequence_ids: _Optional[_Iterable[int]] = ..., num_tokens: _Optional[_Iterable[int]] = ...) -> None: ...

class BlockGrowth(_message.Message):
    __slots__ = ("sequence_id", "block_ids")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCK_IDS_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    block_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequence_id: _Optional[int] = ..., block_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("step_id", "leaving_ids", "joining", "growths", "rows")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    LEAVING_IDS_FIELD_NUMBER: _ClassVar[int]
    JOINING_FIELD_NUMBER: _ClassVar[int]
    GROWTHS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    step_id: int
    leaving_ids: _containers.RepeatedScalarFieldContainer[int]
    joining: _containers.RepeatedCompositeFieldContainer[Sequence]
    growths: _containers.RepeatedCompositeFieldContainer[BlockGrowth]
    rows: Rows
    def __init__(self, step_id: _Optional[int] = ..., leaving_ids: _Optional[_Iterable[int]] = ..., joining: _Optional[_Iterable[_Union[Sequence, _Mapping]]] = ..., growths: _Optional[_Iterable[_Union[BlockGrowth, _Mapping]]] = ..., rows: _Optional[_Union[Rows, _Mapping]] = ...) -> None: ...

class Ending(_message.Message):
    __slots__ = ("sequence_id", "reason")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    reason: EndReason
    def __init__(self, sequence_id: _Optional[int] = ..., reason: _Optional[_Union[EndReason, str]] = ...) -> None: ...

class RowFailure(_message.Message):
    __slots__ = ("sequence_id", "kind", "message")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[RowFailure.Kind]
        KIND_FEATURES_MISSING: _ClassVar[RowFailure.Kind]
        KIND_INVALID: _ClassVar[RowFailure.Kind]
        KIND_INTERNAL: _ClassVar[RowFailure.Kind]
    KIND_UNSPECIFIED: RowFailure.Kind
    KIND_FEATURES_MISSING: RowFailure.Kind
    KIND_INVALID: RowFailure.Kind
    KIND_INTERNAL: RowFailure.Kind
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    kind: RowFailure.Kind
    message: str
    def __init__(self, sequence_id: _Optional[int] = ..., kind: _Optional[_Union[RowFailure.Kind, str]] = ..., message: _Optional[str] = ...) -> None: ...

class TopTokens(_message.Message):
    __slots__ = ("sequence_id", "token_ids", "logprobs")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, sequence_id: _Optional[int] = ..., token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ...) -> None: ...

class PromptLogprobs(_message.Message):
    __slots__ = ("sequence_id", "start", "logprobs", "top_token_ids", "top_logprobs")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TOP_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    start: int
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    top_token_ids: _containers.RepeatedScalarFieldContainer[int]
    top_logprobs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, sequence_id: _Optional[int] = ..., start: _Optional[int] = ..., logprobs: _Optional[_Iterable[float]] = ..., top_token_ids: _Optional[_Iterable[int]] = ..., top_logprobs: _Optional[_Iterable[float]] = ...) -> None: ...

class Logits(_message.Message):
    __slots__ = ("sequence_id", "values")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    sequence_id: int
    values: bytes
    def __init__(self, sequence_id: _Optional[int] = ..., values: _Optional[bytes] = ...) -> None: ...

class StepTimings(_message.Message):
    __slots__ = ("encode", "forward", "mask", "sample", "schedule", "transfer", "deliver", "fill")
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    DELIVER_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    encode: int
    forward: int
    mask: int
    sample: int
    schedule: int
    transfer: int
    deliver: int
    fill: int
    def __init__(self, encode: _Optional[int] = ..., forward: _Optional[int] = ..., mask: _Optional[int] = ..., sample: _Optional[int] = ..., schedule: _Optional[int] = ..., transfer: _Optional[int] = ..., deliver: _Optional[int] = ..., fill: _Optional[int] = ...) -> None: ...

class StepResult(_message.Message):
    __slots__ = ("step_id", "sequence_ids", "num_tokens", "token_ids", "logprobs", "top_tokens", "prompt_logprobs", "endings", "failures", "timings", "logits", "shortened_ids", "num_forced")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_IDS_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TOP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    ENDINGS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    SHORTENED_IDS_FIELD_NUMBER: _ClassVar[int]
    NUM_FORCED_FIELD_NUMBER: _ClassVar[int]
    step_id: int
    sequence_ids: _containers.RepeatedScalarFieldContainer[int]
    num_tokens: _containers.RepeatedScalarFieldContainer[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    top_tokens: _containers.RepeatedCompositeFieldContainer[TopTokens]
    prompt_logprobs: _containers.RepeatedCompositeFieldContainer[PromptLogprobs]
    endings: _containers.RepeatedCompositeFieldContainer[Ending]
    failures: _containers.RepeatedCompositeFieldContainer[RowFailure]
    timings: StepTimings
    logits: _containers.RepeatedCompositeFieldContainer[Logits]
    shortened_ids: _containers.RepeatedScalarFieldContainer[int]
    num_forced: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, step_id: _Optional[int] = ..., sequence_ids: _Optional[_Iterable[int]] = ..., num_tokens: _Optional[_Iterable[int]] = ..., token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., top_tokens: _Optional[_Iterable[_Union[TopTokens, _Mapping]]] = ..., prompt_logprobs: _Optional[_Iterable[_Union[PromptLogprobs, _Mapping]]] = ..., endings: _Optional[_Iterable[_Union[Ending, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[RowFailure, _Mapping]]] = ..., timings: _Optional[_Union[StepTimings, _Mapping]] = ..., logits: _Optional[_Iterable[_Union[Logits, _Mapping]]] = ..., shortened_ids: _Optional[_Iterable[int]] = ..., num_forced: _Optional[_Iterable[int]] = ...) -> None: ...
