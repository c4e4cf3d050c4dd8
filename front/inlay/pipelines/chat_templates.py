"""Chat templates for folders that carry none: built-in ones, LMDeploy's pieces, custom Jinja."""

import json
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Any

_PIECES = ("system", "meta_instruction", "eosys", "user", "eoh", "assistant", "eoa", "separator")


@dataclass(frozen=True)
class ChatTemplateConfig:
    """A chat template by its name, by its pieces, or as Jinja.

    A piece that is None is that of the template `model_name`, or empty without one.
    """

    model_name: str | None = None
    """One of BUILTIN, or None."""
    _: KW_ONLY
    system: str | None = None
    """In front of a system prompt. Where it begins as `user` does, the user's first turn goes on
    behind it without another `user`."""
    meta_instruction: str | None = None
    """System prompt of conversations that do not bring their own."""
    eosys: str | None = None
    """Behind a system prompt."""
    user: str | None = None
    """In front of what the user says."""
    eoh: str | None = None
    """Behind it."""
    assistant: str | None = None
    """In front of an answer; one that is to begin stands without its last spaces."""
    eoa: str | None = None
    """Behind an answer."""
    separator: str | None = None
    """Behind that, where another turn follows."""
    stop_words: list[str] | None = None
    """Texts in front of which answers end, besides those of a GenerationConfig."""
    jinja: str | None = None
    """A whole template instead of a name and pieces; parts have the types `text` and `image`."""

    def __post_init__(self) -> None:
        if self.model_name is not None and self.model_name not in BUILTIN:
            raise ValueError(
                f"`model_name` must be one of {', '.join(BUILTIN)}. Given: {self.model_name}"
            )
        others = [name for name in ("model_name", *_PIECES) if getattr(self, name) is not None]
        if self.jinja is not None and others:
            raise ValueError(
                f"`jinja` is a whole template: {', '.join(others)} cannot be given too"
            )

    @classmethod
    def from_json(cls, file_or_string: str | Path) -> "ChatTemplateConfig":
        """The configuration in a file, or in a JSON text. Raises ValueError and OSError."""
        text = str(file_or_string)
        if not text.lstrip().startswith("{"):
            text = Path(file_or_string).expanduser().read_text(encoding="utf-8")
        given: dict[str, Any] = {k: v for k, v in json.loads(text).items() if v is not None}
        if unknown := sorted(given.keys() - {field.name for field in fields(cls)}):
            raise ValueError(f"a chat template has no {', '.join(unknown)}")
        return cls(**given)

    def to_jinja(self) -> str:
        """The source of the template."""
        if self.jinja is not None:
            return self.jinja
        pieces = self._pieces()
        pieces["begun"] = pieces["assistant"].rstrip(" ")
        sets = (
            f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n"
            for name, text in pieces.items()
        )
        return "".join(sets) + _TEMPLATE

    def _pieces(self) -> dict[str, str]:
        named = (
            BUILTIN[self.model_name]._pieces() if self.model_name else dict.fromkeys(_PIECES, "")
        )
        given = {name: getattr(self, name) for name in _PIECES}
        return named | {name: text for name, text in given.items() if text is not None}


BUILTIN: dict[str, ChatTemplateConfig] = {}
"""Templates by name: `base` is the texts alone."""

BUILTIN["base"] = ChatTemplateConfig()
BUILTIN["vicuna"] = ChatTemplateConfig(
    meta_instruction="A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    eosys=" ",
    user="USER: ",
    eoh=" ",
    assistant="ASSISTANT: ",
    eoa="</s>",
)
BUILTIN["llava-v1"] = ChatTemplateConfig(
    "vicuna",
    meta_instruction="A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.",
)
BUILTIN["llama2"] = ChatTemplateConfig(
    system="[INST] <<SYS>>\n",
    eosys="\n<</SYS>>\n\n",
    user="[INST] ",
    eoh=" [/INST]",
    assistant=" ",
    eoa=" </s>",
    separator="<s>",
)
BUILTIN["llama3"] = ChatTemplateConfig(
    system="<|start_header_id|>system<|end_header_id|>\n\n",
    eosys="<|eot_id|>",
    user="<|start_header_id|>user<|end_header_id|>\n\n",
    eoh="<|eot_id|>",
    assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
    eoa="<|eot_id|>",
)
BUILTIN["mistral"] = ChatTemplateConfig(
    system="[INST] ", eosys="\n\n", user="[INST] ", eoh=" [/INST]", assistant=" ", eoa="</s>"
)
BUILTIN["chatml"] = ChatTemplateConfig(
    system="<|im_start|>system\n",
    eosys="<|im_end|>\n",
    user="<|im_start|>user\n",
    eoh="<|im_end|>\n",
    assistant="<|im_start|>assistant\n",
    eoa="<|im_end|>",
    separator="\n",
)

_TEMPLATE = """\
{%- macro shown(content) -%}
{%- if content is string -%}
{{ content }}
{%- else -%}
{%- set seen = namespace(text=false) -%}
{%- for part in content -%}
{%- if part.type == 'text' -%}
{%- set seen.text = true -%}
{{ part.text }}
{%- else -%}
{{ '<image>' if seen.text else '<image>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{{ bos_token | default('', true) }}
{%- set last = namespace(role='') -%}
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' and meta_instruction -%}
{{ system ~ meta_instruction ~ eosys }}
{%- set last.role = 'system' -%}
{%- endif -%}
{%- if last.role == 'assistant' -%}
{{ separator }}
{%- endif -%}
{%- if message.role == 'system' -%}
{{ system ~ shown(message.content) ~ eosys }}
{%- elif message.role == 'user' -%}
{%- set goes_on = last.role == 'system' and user and system.startswith(user) -%}
{{ ('' if goes_on else user) ~ shown(message.content) ~ eoh }}
{%- elif message.role == 'assistant' -%}
{{ assistant ~ shown(message.content) ~ eoa }}
{%- else -%}
{{ raise_exception('roles are system, user and assistant. Given: ' ~ message.role) }}
{%- endif -%}
{%- set last.role = message.role -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ begun }}
{%- endif -%}
"""
