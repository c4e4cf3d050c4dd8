"""One chat template: renders as `transformers` renders it, within a limit of time and size."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import meta, nodes
from jinja2.exceptions import TemplateError as JinjaError

from inlay_router.chat.environment import TooSlow, check_deadline, deadline, make_environment
from inlay_router.errors import TemplateError

Message = dict[str, Any]
"""A message as templates see it: `role`, `content`, and what else the client gave."""

_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Names that a message's reasoning goes by; templates read the first, some the second."""
_CONTINUE_MARK = "CONTINUE_FINAL_MESSAGE_TAG "


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderLimits:
    """What one rendering may cost."""

    seconds: float = 2.0
    max_characters: int = 16 * 1024 * 1024


class ChatTemplate:
    """A compiled template. For any thread."""

    def __init__(self, source: str, limits: RenderLimits | None = None) -> None:
        """Raises TemplateError when `source` is no template."""
        self.source = source
        self._limits = limits or RenderLimits()
        environment = make_environment()
        try:
            self._syntax = environment.parse(source)
            self._compiled = environment.from_string(source)
        except JinjaError as error:
            raise TemplateError(str(error)) from None

    @cached_property
    def variables(self) -> frozenset[str]:
        """Names that it takes from outside, such as `messages` and `tools`."""
        return frozenset(meta.find_undeclared_variables(self._syntax))

    @cached_property
    def literal_text(self) -> str:
        """All text that it holds; between two pieces stands a null character."""
        pieces = {node.data for node in self._syntax.find_all(nodes.TemplateData)}
        constants = (node.value for node in self._syntax.find_all(nodes.Const))
        return "\0".join(pieces | {value for value in constants if isinstance(value, str)})

    def render(
        self,
        messages: list[Message],
        variables: Mapping[str, Any],
        *,
        continues_last: bool = False,
    ) -> str:
        """The text for `messages`; with `continues_last` it ends inside the last of them.

        Raises TemplateError: the template refuses the messages, or takes too long for them.
        """
        messages = [_with_reasoning(message) for message in messages]
        if continues_last:
            last, ending = _marked(messages[-1])
            text = self._run([*messages[:-1], last], variables)
            return _cut(text, ending)
        return self._run(messages, variables)

    def _run(self, messages: list[Message], variables: Mapping[str, Any]) -> str:
        known: dict[str, Any] = {"tools": None, "documents": None}
        context = {**known, **variables, "messages": messages}
        pieces: list[str] = []
        num_left = self._limits.max_characters
        try:
            with deadline(self._limits.seconds):
                for piece in self._compiled.generate(context):
                    check_deadline()
                    num_left -= len(piece)
                    if num_left < 0:
                        raise TemplateError(
                            f"the prompt exceeds {self._limits.max_characters} characters"
                        )
                    pieces.append(piece)
        except TooSlow:
            raise TemplateError(f"it took more than {self._limits.seconds:g} s") from None
        except TemplateError:
            raise
        except RecursionError:
            raise TemplateError("the messages are nested too deeply") from None
        except Exception as error:  # a template can do whatever Python's operators can
            raise TemplateError(str(error) or type(error).__name__) from None
        return "".join(pieces)


def _with_reasoning(message: Message) -> Message:
    reasoning = next((message[key] for key in _REASONING_KEYS if key in message), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _marked(message: Message) -> tuple[Message, str]:
    """The message with a mark behind its last text, and that text."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": content + _CONTINUE_MARK}, content
    parts = list(content or ())
    for index in range(len(parts) - 1, -1, -1):
        text = parts[index].get("text")
        if text is not None:
            parts[index] = {**parts[index], "text": text + _CONTINUE_MARK}
            return {**message, "content": parts}, text
    raise TemplateError("the last message has no text that could be continued")


def _cut(text: str, ending: str) -> str:
    """The text before the mark; without the space there if the template strips what it is given."""
    place = text.rfind(_CONTINUE_MARK.strip())
    if place < 0 or ending.strip() not in text:
        raise TemplateError("it does not show the last message, which was to be continued")
    if text.startswith(_CONTINUE_MARK, place):
        return text[:place]
    return text[:place].rstrip()
