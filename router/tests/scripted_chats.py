"""Chats with a scripted model: its templates, what users send, and what comes back."""

from typing import Any

import httpx
from scripted_router import AcceptingGrammars, post

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import Choose, scripted_facts

TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}:"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    ";{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
TOOL_TEMPLATE = "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}" + TEMPLATE
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}


def facts(template: str = TEMPLATE, **named: str) -> pb.ModelFacts:
    """A scripted model that knows chats."""
    made = scripted_facts()
    made.chat_template = template
    made.named_chat_templates.update(named)
    return made


def chat(
    body: dict[str, Any],
    choose: Choose | None = None,
    *,
    path: str = "/v1/chat/completions",
    model: pb.ModelFacts | None = None,
    grammars: AcceptingGrammars | None = None,
    **config: Any,
) -> httpx.Response:
    """The response to one call on a fresh router."""
    whole = {"messages": HELLO, **body}
    grammars = grammars or AcceptingGrammars()
    return post(path, whole, choose, facts=model or facts(), grammars=grammars, **config)


def rendered(messages: list[Any], **more: Any) -> str:
    """The prompt of a chat."""
    model = more.pop("model", None)
    config = more.pop("config", {})
    response = chat({"messages": messages, **more}, path="/chat_tokenize", model=model, **config)
    assert response.status_code == 200, response.text
    text: str = response.json()["templated_text"]
    return text


def refusal(body: dict[str, Any], **options: Any) -> tuple[str, str]:
    """Type and words of a 422."""
    response = chat(body, **options)
    assert response.status_code == 422, response.text
    return response.json()["error_type"], response.json()["error"]
