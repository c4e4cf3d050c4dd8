"""From the body of a chat to generations that can run."""

from dataclasses import dataclass, replace
from typing import Any

from inlay_router.admission import Admission, ValidGenerateRequest
from inlay_router.api.openai import num_choices, with_choices
from inlay_router.chat.body import ChatBody
from inlay_router.chat.contents import read_messages
from inlay_router.chat.controls import valid_controls
from inlay_router.chat.prompts import ChatPrompts, RenderedChat
from inlay_router.chat.templates import ChatTemplates, Style
from inlay_router.chat.tool_syntax import ToolSyntax
from inlay_router.chat.tools import ToolUse, described, syntax_for, tool_use, with_tool_prompt
from inlay_router.errors import ValidationError
from inlay_router.text.tokenizer import Tokenizer
from inlay_router.validation import ValidParameters


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidChat:
    """A chat that will be answered."""

    body: ChatBody
    request: ValidGenerateRequest
    """Its `inputs` are the rendered text, its generations one for each choice."""
    syntax: ToolSyntax | None
    """How functions are called; None when none can be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatAdmission:
    """Lets chats in."""

    admission: Admission
    templates: ChatTemplates
    prompts: ChatPrompts
    tokenizer: Tokenizer

    async def admit(self, body: ChatBody) -> ValidChat:
        """Everything that can be wrong with a chat is found here. Raises RouterErrors."""
        limits = self.admission.limits
        parameters = valid_controls(body, limits)
        n = num_choices(body.n, limits)
        use = tool_use(body)
        style = self.templates.style(has_tools=use is not None)
        syntax = None if use is None else syntax_for(style.template)
        parameters = self._with_tools(parameters, use, syntax)
        chat = await self._read(body, style, use)
        request = await self.admission.admit_prompt(chat.text, parameters, chat.prompt)
        return ValidChat(body=body, request=with_choices(request, n), syntax=syntax)

    async def read(self, body: ChatBody) -> RenderedChat:
        """The prompt alone. Raises RouterErrors."""
        use = tool_use(body)
        return await self._read(body, self.templates.style(has_tools=use is not None), use)

    def _with_tools(
        self, parameters: ValidParameters, use: ToolUse | None, syntax: ToolSyntax | None
    ) -> ValidParameters:
        if use is None or syntax is None:
            return parameters
        if not self.admission.limits.has_grammars:
            raise ValidationError("grammar is not supported")
        whitespace = self.admission.limits.grammar_whitespace
        return replace(parameters, grammar=use.grammar(syntax, self.tokenizer, whitespace))

    async def _read(self, body: ChatBody, style: Style, use: ToolUse | None) -> RenderedChat:
        conversation = read_messages(body.messages, style.forms, style.marks, self.prompts.rules)
        continues_last = _continues_last(body)
        variables = _variables(body, style, continues_last=continues_last)
        if use is not None:
            tools = style.marks.mark(described(use.tools))
            variables["tools"] = tools
            prompt = style.marks.mark(body.tool_prompt)
            messages = with_tool_prompt(conversation.messages, style.template, tools, prompt)
            conversation = replace(conversation, messages=messages)
        return await self.prompts.read(
            style, conversation, variables, continues_last=continues_last
        )


def _continues_last(body: ChatBody) -> bool:
    """An assistant's last message is the beginning of the answer, unless the client says no."""
    last = body.messages[-1] if body.messages else None
    if last is None or body.continue_final_message is False:
        return False
    if body.continue_final_message:
        if body.add_generation_prompt:
            raise ValidationError(
                "`continue_final_message` and `add_generation_prompt` cannot both be true"
            )
        return True
    is_begun = last.role == "assistant" and not last.tool_calls and last.content is not None
    return is_begun and not body.add_generation_prompt


def _variables(body: ChatBody, style: Style, *, continues_last: bool) -> dict[str, Any]:
    """Of this rendering. Raises ValidationError for one that the template would not look at."""
    wants_answer = body.add_generation_prompt is not False and not continues_last
    variables = dict(body.chat_template_kwargs or {})
    for name, value in (("guideline", body.guideline), ("reasoning_effort", body.reasoning_effort)):
        if value is not None:
            if name not in style.template.variables:
                raise ValidationError(f"`{name}` is not known to this model's chat template")
            variables[name] = value
    for name in ("messages", "tools", "add_generation_prompt"):
        if name in variables:
            raise ValidationError(f"`chat_template_kwargs` must not hold `{name}`")
    marked: dict[str, Any] = style.marks.mark(variables)
    return {**marked, "add_generation_prompt": wants_answer}
