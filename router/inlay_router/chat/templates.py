"""The chat templates of one model, and what all their renderings share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inlay_proto import generate_pb2 as pb
from inlay_router.chat.forms import Forms, forms_of
from inlay_router.chat.marks import Marks
from inlay_router.chat.template import ChatTemplate, RenderLimits
from inlay_router.errors import TemplateError
from inlay_router.text.tokenizer import Tokenizer

_DEFAULT = "default"
_TOOL_USE = "tool_use"


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """A template with what was found out about it."""

    template: ChatTemplate
    forms: Forms
    marks: Marks
    variables: Mapping[str, Any]
    """Of every rendering: the model's special tokens by name."""


class ChatTemplates:
    """Compiles each template when it is first used."""

    def __init__(
        self, facts: pb.ModelFacts, tokenizer: Tokenizer, limits: RenderLimits | None = None
    ) -> None:
        self._sources = dict(facts.named_chat_templates)
        if facts.chat_template:
            self._sources[_DEFAULT] = facts.chat_template
        self._variables = _variables(facts)
        self._tokenizer = tokenizer
        self._limits = limits or RenderLimits()
        self._styles: dict[str, Style] = {}

    def style(self, *, has_tools: bool) -> Style:
        """The template for a chat. Raises TemplateError when there is none, or it is broken."""
        name = _TOOL_USE if has_tools and _TOOL_USE in self._sources else _DEFAULT
        if name not in self._sources:
            raise TemplateError("template not found")
        if name not in self._styles:
            self._styles[name] = self._make(self._sources[name])
        return self._styles[name]

    def _make(self, source: str) -> Style:
        template = ChatTemplate(source, self._limits)
        return Style(
            template=template,
            forms=forms_of(template, {**self._variables, "add_generation_prompt": True}),
            marks=Marks(_control_tokens(template, self._tokenizer)),
            variables=self._variables,
        )


def _variables(facts: pb.ModelFacts) -> dict[str, Any]:
    named = {"bos_token": facts.bos_token, "eos_token": facts.eos_token}
    known: dict[str, Any] = {name: text for name, text in named.items() if text}
    return known | dict(facts.special_tokens)


def _control_tokens(template: ChatTemplate, tokenizer: Tokenizer) -> list[str]:
    """Special tokens, and added ones that the template writes: text, where a user types them."""
    literal = template.literal_text
    return [
        text
        for text, is_special in tokenizer.added_tokens.items()
        if is_special or (text in literal and re.search(r"\S", text))
    ]
