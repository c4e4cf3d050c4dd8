"""Chat templates render character for character as `transformers` renders them."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from inlay_router.chat.environment import make_environment
from inlay_router.chat.template import ChatTemplate, RenderLimits
from inlay_router.errors import TemplateError

render_jinja_template: Any = chat_template_utils.render_jinja_template
EMBEDDED = Path(__file__).parents[2] / "front/inlay/embedded_model/chat_template.jinja"
CHATML = """{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content %}
        {%- generation %}{{ message.content | trim }}{% endgeneration %}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
        {{- '\\n<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if tools %}{{ tools | tojson(indent=2) }}{% endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
STRICT = """{{ bos_token }}{% set ns = namespace(found=false) %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must alternate <user>/<assistant>') }}
{% endif %}
{% if message.role == 'tool' %}{% continue %}{% endif %}
{% set ns.found = true %}
[{{ message.role }}] {{ message.content }}{{ eos_token }}
{% endfor %}
{{ ns.found }} {{ dict(a=1) | tojson }} {{ strftime_now('%Y') | length }}
"""
QUESTION = {"role": "user", "content": '  <b>What\'s \u20ac & "this"?</b>\n'}
ANSWER = {"role": "assistant", "content": "An answer. "}
CALL = {
    "role": "assistant",
    "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {"a": "<\u00e9>"}}},
    ],
}
PARTS = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " what? "}]}
THOUGHT = {"role": "assistant", "content": "x", "reasoning": "hm"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}

CHATS: list[tuple[str, list[dict[str, Any]]]] = [
    (CHATML, [QUESTION]),
    (CHATML, [QUESTION, ANSWER, QUESTION]),
    (CHATML, [QUESTION, CALL, {"role": "tool", "content": "1"}]),
    (STRICT, [QUESTION, ANSWER]),
    (EMBEDDED.read_text(), [PARTS, ANSWER, QUESTION]),
    ("{{ messages[0].reasoning_content }}{{ messages[0].thinking }}", [THOUGHT]),
]


@pytest.mark.parametrize(("source", "messages"), CHATS)
@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_it_renders_as_transformers_does(
    source: str, messages: list[dict[str, Any]], tools: Any, add_generation_prompt: bool
) -> None:
    variables = {**VARIABLES, "add_generation_prompt": add_generation_prompt}
    theirs, _ = render_jinja_template([messages], tools, chat_template=source, **variables)
    ours = ChatTemplate(source).render(messages, {**variables, "tools": tools})
    assert ours == theirs[0]


@pytest.mark.parametrize("source", [CHATML, STRICT, EMBEDDED.read_text()])
@pytest.mark.parametrize("content", ["An answer", "An answer. ", [{"type": "text", "text": "So"}]])
def test_a_last_message_is_continued_as_transformers_does(source: str, content: Any) -> None:
    messages = [QUESTION, {"role": "assistant", "content": content}]
    try:
        theirs, _ = render_jinja_template(
            [messages], chat_template=source, continue_final_message=True, **VARIABLES
        )
    except Exception:
        with pytest.raises(TemplateError):
            ChatTemplate(source).render(messages, VARIABLES, continues_last=True)
    else:
        assert ChatTemplate(source).render(messages, VARIABLES, continues_last=True) == theirs[0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ messages[5].content.x }}", "list object has no element 5"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% set ns = namespace(_x=1) %}", "underscore"),
        ("{{ 1 // 0 }}", "division"),
    ],
)
def test_a_refusal_is_in_the_words_of_the_template(source: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        ChatTemplate(source).render([QUESTION], {})


def test_what_is_no_template_is_refused() -> None:
    with pytest.raises(TemplateError, match="Template error: "):
        ChatTemplate("{% if %}")


def test_a_template_comes_to_an_end() -> None:
    limits = RenderLimits(seconds=0.05, max_characters=1000)
    loop = "{% for a in range(99999) %}"
    slow = loop + loop + "{% set c = messages[0] %}{% endfor %}{% endfor %}"
    with pytest.raises(TemplateError, match="more than 0.05 s"):
        ChatTemplate(slow, limits).render([QUESTION], {})
    with pytest.raises(TemplateError, match="exceeds 1000 characters"):
        ChatTemplate("{% for a in range(9999) %}x{% endfor %}", limits).render([QUESTION], {})


def test_json_is_not_escaped_for_html() -> None:
    template = make_environment().from_string("{{ value | tojson(separators=(',', ':')) }}")
    value = {"a": ["<&'\u00e9>"]}
    assert template.render(value=value) == json.dumps(
        value, ensure_ascii=False, separators=(",", ":")
    )
