"""What a program chooses of a pipeline and of its answers, in LMDeploy's words.

A name that is not here is refused by Python itself; a value out of range is refused with its name,
the limit and what was given, when the model's limits are known.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How the model is run."""

    tp: int = 1
    """Processes that the model is split over; 1 runs it in this process."""
    session_len: int | None = None
    """Longest prompt and answer together, in tokens; None for what model and KV pool hold."""
    max_batch_size: int = 128
    """Sequences that run at a time."""
    dtype: str = "auto"
    """`auto`, `float32`, `bfloat16` or `float16`."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    quantize: str | None = None
    """`int8`, or None."""
    num_blocks: int | None = None
    """Blocks of the KV pool; None for what free memory allows."""
    block_size: int = 32
    """Tokens of a block."""
    max_prefill_token_num: int | None = None
    """Prompt tokens that one step computes at most; None for what suits the device."""
    enable_prefix_caching: bool = True
    """Whether what was computed for a prompt serves later ones that begin with it."""
    revision: str | None = None
    """Branch, tag or commit of a hub repository."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """How images are taken in."""

    max_batch_size: int = 8
    """Images that are embedded together at most."""
    max_images: int = 16
    """Images in one prompt."""
    num_workers: int | None = None
    """Processes that prepare images; None for a quarter of the cores."""


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How answers are chosen."""

    max_new_tokens: int | None = None
    """Longest answer, in tokens; None for 512. Where less is left, the answer ends there."""
    do_sample: bool | None = None
    """Whether tokens are drawn; None: if a temperature, `top_k` or `top_p` asks for it."""
    temperature: float | None = None
    """Divides the logits; 0 takes the likeliest token each time."""
    top_k: int | None = None
    """Keep the k likeliest tokens; 0 or None for all."""
    top_p: float | None = None
    """Keep the likeliest tokens up to this probability; 1 or None for all."""
    min_p: float | None = None
    """Of a draw: leave out tokens less likely than this share of the likeliest."""
    repetition_penalty: float | None = None
    """More than 1 makes repetitions less likely."""
    random_seed: int | None = None
    """Of the draws; None for a new one each time."""
    stop_words: list[str] | None = None
    """Texts in front of which an answer ends."""
    stop_token_ids: list[int] | None = None
    """Tokens that end an answer, beside the model's own, and are no part of it."""
    bad_words: list[str] | None = None
    """Texts that an answer does not hold, as the tokenizer writes them."""
    bad_token_ids: list[int] | None = None
    """Tokens that an answer does not hold."""
    min_new_tokens: int | None = None
    """No end token, and none of `stop_token_ids`, is among the first so many. Not together with
    `stop_words`."""
    ignore_eos: bool = False
    """Whether the model's end tokens are never chosen, so that an answer has `max_new_tokens`."""
    skip_special_tokens: bool = True
    """Whether special tokens, such as marks around the places that a model points at, are left out
    of the text."""
    include_stop_str_in_output: bool = False
    """Whether the stop word that ended an answer stands in its text."""
    logprobs: int | None = None
    """How many of the likeliest tokens to report at each position, 1 or more."""
    response_format: dict[str, Any] | None = None
    """`{"type": "json_schema", "json_schema": {"schema": …}}`, `{"type": "json_object"}` or
    `{"type": "regex_schema", "regex_schema": …}`: what the answer satisfies."""
    output_logits: Literal["generation"] | None = None
    """Whether `Response.logits` are reported."""
    output_last_hidden_state: None = None
    """Only None: hidden states stay in the shards."""


NUM_NEW_TOKENS = 512
"""Longest answer where no other is given."""
