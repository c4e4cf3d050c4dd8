"""The JSON of a chat request, key for key as OpenAI's and TGI's clients write it.

Null means absent for every optional key. A key that is not here is refused with its name, so
that nothing a client asks for is silently ignored; keys of messages and parts may be more.
"""

from typing import Any

from msgspec import Struct

from inlay_router.api.asked_grammar import ResponseFormat, StructuredOutputs
from inlay_router.api.openai import StreamOptions


class ImageUrl(Struct, frozen=True):
    """Where an image comes from."""

    url: str
    """Begins with `http://`, `https://` or `data:`."""
    detail: str | None = None
    """Without effect: a model sees an image as its processor prepares it."""


class ImageEmbeds(Struct, frozen=True, forbid_unknown_fields=True):
    """Embeddings in an image's stead, in vLLM's longer form."""

    image_embeds: str
    """Base64 of a safetensors file."""


class Part(Struct, frozen=True):
    """A part of a message: `text`, or an image at its place."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None
    image_embeds: ImageEmbeds | str | None = None
    """Base64 of a safetensors file with one tensor: (num_images, image_feature_size, hidden_size),
    or (image_feature_size, hidden_size)."""


class FunctionCall(Struct, frozen=True):
    """What an assistant called."""

    name: str
    arguments: str | dict[str, Any] | None = None
    """JSON, as text or as it is."""


class ToolCall(Struct, frozen=True):
    """One call in an assistant's message."""

    function: FunctionCall
    id: str | None = None
    type: str | None = None


class Message(Struct, frozen=True):
    """One message of the conversation."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None


class Function(Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of an object; absent for a function without parameters."""
    arguments: dict[str, Any] | None = None
    """TGI's other name of `parameters`."""
    strict: bool | None = None
    """Without effect: arguments always satisfy the schema."""


class Tool(Struct, frozen=True):
    """`{"type": "function", "function": …}`."""

    function: Function
    type: str = "function"


class FunctionName(Struct, frozen=True):
    """The name of a function."""

    name: str


class NamedChoice(Struct, frozen=True):
    """`{"type": "function", "function": {"name": …}}`; `{"name": …}` means the same."""

    function: FunctionName | None = None
    name: str | None = None
    type: str | None = None


class ChatBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `/v1/chat/completions` and `/chat_tokenize`; ranges are not checked yet."""

    messages: list[Message]
    model: str | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
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
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedChoice | None = None
    tool_prompt: str | None = None
    parallel_tool_calls: bool | None = None
    guideline: str | None = None
    """For templates that know the variable."""
    reasoning_effort: str | None = None
    """For templates that know the variable."""
    chat_template_kwargs: dict[str, Any] | None = None
    """More variables for the template, such as `enable_thinking`."""
    add_generation_prompt: bool | None = None
    """False: the template is not asked to begin an answer."""
    continue_final_message: bool | None = None
    """Whether the answer continues the last message; by default if an assistant wrote that."""
    top_k: int | None = None
    typical_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    watermark: bool | None = None
    max_time: float | None = None
    """Seconds that the request may take from receipt to its last byte."""
    user: str | None = None
    """Without effect."""
    metadata: dict[str, Any] | None = None
    """Without effect."""
    store: bool | None = None
    """Without effect: nothing is stored."""
    service_tier: str | None = None
    """Without effect."""
    safety_identifier: str | None = None
    """Without effect."""
    prompt_cache_key: str | None = None
    """Without effect: prompts are shared by their content."""
