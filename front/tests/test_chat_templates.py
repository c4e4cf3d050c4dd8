import json
from pathlib import Path
from typing import Any

import pytest

from inlay.pipelines.chat_templates import BUILTIN, ChatTemplateConfig
from inlay_router.chat.forms import forms_of
from inlay_router.chat.template import ChatTemplate
from inlay_router.errors import TemplateError

TALK: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q1"}]},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "Q2"},
]
SYSTEM: dict[str, Any] = {"role": "system", "content": "S"}
LLAVA = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions."
)


def rendered(config: ChatTemplateConfig, messages: list[dict[str, Any]]) -> str:
    variables = {"bos_token": "<s>", "add_generation_prompt": True}
    return ChatTemplate(config.to_jinja()).render(messages, variables)


@pytest.mark.parametrize(
    ("name", "without_system", "with_system"),
    [
        ("base", "<s><image>\nQ1A1Q2", "<s>S<image>\nQ1A1Q2"),
        (
            "llava-v1",
            f"<s>{LLAVA} USER: <image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
            "<s>S USER: <image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
        ),
        (
            "vicuna",
            f"<s>{LLAVA.replace('human', 'user')} USER: <image>\nQ1 ASSISTANT: A1</s>"
            "USER: Q2 ASSISTANT:",
            "<s>S USER: <image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
        ),
        (
            "llama2",
            "<s>[INST] <image>\nQ1 [/INST] A1 </s><s>[INST] Q2 [/INST]",
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n<image>\nQ1 [/INST] A1 </s><s>[INST] Q2 [/INST]",
        ),
        (
            "mistral",
            "<s>[INST] <image>\nQ1 [/INST] A1</s>[INST] Q2 [/INST]",
            "<s>[INST] S\n\n<image>\nQ1 [/INST] A1</s>[INST] Q2 [/INST]",
        ),
        (
            "chatml",
            "<s><|im_start|>user\n<image>\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
            "<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n",
            "<s><|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<image>\nQ1<|im_end|>\n"
            "<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        (
            "llama3",
            "<s><|start_header_id|>user<|end_header_id|>\n\n<image>\nQ1<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n<image>\nQ1<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_built_in_templates(name: str, without_system: str, with_system: str) -> None:
    assert rendered(BUILTIN[name], TALK) == without_system
    assert rendered(ChatTemplateConfig(name), [SYSTEM, *TALK]) == with_system


@pytest.mark.parametrize("name", BUILTIN)
def test_the_router_understands_every_one(name: str) -> None:
    forms = forms_of(ChatTemplate(BUILTIN[name].to_jinja()), {"add_generation_prompt": True})
    assert (forms.takes_text, forms.takes_parts, forms.image_mark) == (True, True, "<image>")


def test_an_image_behind_a_text_adds_no_line() -> None:
    parts = [{"type": "text", "text": "Q"}, {"type": "image"}]
    assert rendered(ChatTemplateConfig(), [{"role": "user", "content": parts}]) == "<s>Q<image>"


def test_pieces_replace_those_of_a_name(tmp_path: Path) -> None:
    pieces = {"model_name": "chatml", "meta_instruction": 'Say "hé"\n', "eoh": None}
    file = tmp_path / "template.json"
    file.write_text(json.dumps(pieces))
    from_file = ChatTemplateConfig.from_json(file)
    assert from_file == ChatTemplateConfig.from_json(json.dumps(pieces))
    shown = rendered(from_file, TALK[2:])
    assert shown.startswith('<s><|im_start|>system\nSay "hé"\n<|im_end|>\n<|im_start|>user\nQ2')


def test_custom_jinja_is_taken_as_it_is() -> None:
    assert ChatTemplateConfig(jinja="{{ messages[0].content }}").to_jinja().startswith("{{ mess")


def test_other_roles_are_refused() -> None:
    with pytest.raises(TemplateError, match="roles are system, user and assistant. Given: tool"):
        rendered(ChatTemplateConfig(), [{"role": "tool", "content": "x"}])


def test_what_is_no_template_is_said() -> None:
    with pytest.raises(ValueError, match="must be one of base, vicuna, .* Given: llava-v9"):
        ChatTemplateConfig("llava-v9")
    with pytest.raises(ValueError, match="`jinja` is a whole template: user cannot be given too"):
        ChatTemplateConfig(jinja="x", user="USER: ")
    with pytest.raises(ValueError, match="a chat template has no capability, tool"):
        ChatTemplateConfig.from_json('{"tool": "x", "capability": "chat"}')
