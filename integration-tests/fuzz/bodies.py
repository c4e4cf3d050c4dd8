"""Bodies of calls on every route, given to the whole router over a scripted shard."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from random import Random
from typing import Any

from PIL import Image
from scripted_router import Edge, Exchange, serve

from fuzz.json_mutation import damage_json
from fuzz.target import Target, Try, check_words, must
from inlay_grammars.spec import GrammarSpec, SpecLimits, check_size, parse_schema
from inlay_grammars.verdict import Verdict
from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import scripted_facts, spell

_ROUTES = (
    "/",
    "/generate",
    "/generate_stream",
    "/v1/completions",
    "/v1/chat/completions",
    "/invocations",
    "/vertex",
    "/tokenize",
    "/chat_tokenize",
)
_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}"
    "{% for m in messages %}<s>{{ m.role }}:"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content or [] %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}"
    "{% endfor %};{% endfor %}{{ guideline }}{% if add_generation_prompt %}assistant:{% endif %}"
)
_ANSWER = 'a "b" <tool_call>{"name": "f", "arguments": {"x": [1, {"y": null}]}}</tool_call> é🙂'


class Grammars:
    """Takes what is small enough to be compiled."""

    async def check(self, spec: GrammarSpec) -> Verdict:
        """See CompilePool."""
        check_size(spec, SpecLimits())
        if spec.kind == "json":
            parse_schema(spec.value, SpecLimits())
        return Verdict()


def chat_facts() -> pb.ModelFacts:
    """A scripted model with a chat template that shows all there is."""
    facts = scripted_facts()
    facts.chat_template = _TEMPLATE
    return facts


@asynccontextmanager
async def _open() -> AsyncIterator[Try]:
    # No name is allowed, so that no input waits for a resolver.
    async with serve(
        spell(_ANSWER),
        facts=chat_facts(),
        grammars=Grammars(),
        allowed_image_hosts=("nobody.invalid",),
    ) as edge:

        async def attempt(data: bytes) -> str:
            path, _, body = data.partition(b"\n")
            return await _call(edge, path.decode("latin-1"), body)

        yield attempt


async def _call(edge: Edge, path: str, body: bytes) -> str:
    call = Exchange(edge.app, path, body)
    try:
        await call.task
    except asyncio.CancelledError:
        call.task.cancel()
        raise
    text = call.text.decode()
    must(call.status < 500, f"{call.status} {text[:300]}")
    must("Permits(0 of" in repr(edge.service.permits), f"held: {edge.service.permits}")
    if call.status == 200:
        must(
            "Internal server error" not in text and "incomplete_generation" not in text, text[:300]
        )
        return f"{path} 200 {len(text) // 500}"
    answer = json.loads(text)
    must(set(answer) == {"error", "error_type"}, text[:300])
    words = check_words(answer["error"], body.decode("utf-8", "replace"))
    return f"{path} {call.status} {answer['error_type']} {words}"


def _mutate(data: bytes, other: bytes, chance: Random) -> bytes:
    path, _, body = data.partition(b"\n")
    if chance.random() < 0.1:
        path = chance.choice(_ROUTES).encode()
    return path + b"\n" + damage_json(body, other.partition(b"\n")[2], chance)


def picture(kind: str = "PNG", size: tuple[int, int] = (5, 4), mode: str = "RGB") -> bytes:
    """A small image."""
    buffer = BytesIO()
    Image.new(mode, size, 1).save(buffer, kind)
    return buffer.getvalue()


_URI = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "array", "items": {"enum": [1, "b"]}}, "c": {"$ref": "#/$defs/d"}},
    "required": ["a"],
    "$defs": {"d": {"type": "string", "pattern": "^x+$"}},
}
_PARAMETERS: dict[str, Any] = {
    "best_of": 2,
    "temperature": 0.5,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "logit_bias": {"5": 1.0},
    "top_k": 10,
    "top_p": 0.9,
    "typical_p": 0.9,
    "min_p": 0.1,
    "do_sample": True,
    "max_new_tokens": 9,
    "return_full_text": True,
    "stop": ["b", "zz"],
    "truncate": 5,
    "watermark": True,
    "details": True,
    "decoder_input_details": True,
    "top_n_tokens": 2,
    "grammar": {"type": "json", "value": _SCHEMA},
}
_TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": _SCHEMA, "strict": True},
}
_MESSAGES: list[Any] = [
    {"role": "system", "content": "s"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "a<image></s>"},
            {"type": "image_url", "image_url": {"url": _URI, "detail": "low"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "1", "name": "f", "content": "<tool_call>"},
]
_CHAT: dict[str, Any] = {
    "messages": _MESSAGES,
    "model": "m",
    "logprobs": True,
    "top_logprobs": 2,
    "max_tokens": 20,
    "n": 2,
    "seed": 3,
    "stop": "q",
    "temperature": 0.7,
    "top_p": 0.9,
    "tools": [_TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "guideline": "g",
    "chat_template_kwargs": {"x": {"y": [1]}},
}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA}}


def _seeds() -> list[bytes]:
    generate = {"inputs": f"a![]({_URI})b", "parameters": _PARAMETERS, "stream": False}
    seeded = {
        "inputs": "hi",
        "parameters": {"seed": 5, "grammar": {"type": "regex", "value": "a+"}},
    }
    plain = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    bodies: list[tuple[str, Any]] = [
        ("/generate", generate),
        ("/generate", seeded),
        ("/generate_stream", {"inputs": "hi", "parameters": {"details": True, "top_n_tokens": 2}}),
        ("/", {**seeded, "stream": True}),
        ("/tokenize", generate),
        ("/v1/completions", {"prompt": ["a", [5, 6], "b"], "max_tokens": 5, "logprobs": 2}),
        ("/v1/completions", {"prompt": "a", "stream": True, "n": 2, "echo": True, "stop": ["x"]}),
        ("/v1/chat/completions", _CHAT),
        ("/v1/chat/completions", {**plain, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", {**plain, "response_format": _FORMAT}),
        ("/v1/chat/completions", {**_CHAT, "tool_choice": {"function": {"name": "f"}}}),
        ("/chat_tokenize", _CHAT),
        ("/invocations", generate),
        ("/invocations", plain),
        ("/vertex", {"instances": [seeded, {"messages": plain["messages"]}]}),
    ]
    return [f"{path}\n{json.dumps(body)}".encode() for path, body in bodies]


BODIES = Target(name="bodies", seeds=_seeds, mutate=_mutate, open=_open, weight=8)
