"""From the messages of a request to those that a template is given, with the images apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from inlay_router import markdown
from inlay_router.chat import body
from inlay_router.chat.forms import Forms
from inlay_router.chat.marks import IMAGE, Marks
from inlay_router.chat.template import Message
from inlay_router.errors import ValidationError
from inlay_router.images.image_embeds import EMBEDS_REFUSED, EmbedsPiece, SeenPiece
from inlay_router.markdown import TextPiece

_MAX_MESSAGES = 4096
_MAX_PARTS = 4096
"""Of all messages; each is looked at before a template is given them."""

Content = list[TextPiece | SeenPiece]


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """Messages for a template."""

    messages: list[Message]
    images: list[SeenPiece]
    """In the order in which the messages hold them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentRules:
    """How contents are read."""

    takes_images: bool
    max_images: int
    has_markdown: bool = False
    """Whether `![](…)` in a text is an image."""
    has_local_images: bool = False
    """Whether `file:` URLs may be read."""
    has_image_embeds: bool = False
    """Whether a part may be embeddings in an image's stead."""


def read_messages(
    messages: Sequence[body.Message], forms: Forms, marks: Marks, rules: ContentRules
) -> Conversation:
    """Raises ValidationError: a part is not understood, or there is one image too many."""
    if not messages:
        raise ValidationError("`messages` cannot be empty")
    _check_counts(messages)
    contents = [
        _pieces(message.content, f"`messages[{index}].content", rules)
        for index, message in enumerate(messages)
    ]
    images: list[SeenPiece] = [
        piece for pieces in contents for piece in pieces or () if not isinstance(piece, TextPiece)
    ]
    if len(images) > rules.max_images:
        raise ValidationError(
            f"`messages` may hold up to {rules.max_images} images. Given: {len(images)}"
        )
    return Conversation(
        messages=[
            _message(message, pieces, forms, marks)
            for message, pieces in zip(messages, contents, strict=True)
        ],
        images=images,
    )


def _check_counts(messages: Sequence[body.Message]) -> None:
    num_parts = sum(len(m.content) for m in messages if isinstance(m.content, list))
    for what, number, most in (
        ("messages", len(messages), _MAX_MESSAGES),
        ("parts", num_parts, _MAX_PARTS),
    ):
        if number > most:
            raise ValidationError(f"`messages` may hold up to {most} {what}. Given: {number}")


def _is_image(piece: TextPiece | SeenPiece) -> bool:
    return not isinstance(piece, TextPiece)


def _pieces(
    content: str | list[body.Part] | None, path: str, rules: ContentRules
) -> Content | None:
    if content is None:
        return None
    if isinstance(content, str):
        return _text_pieces(content, rules)
    pieces: Content = []
    for index, part in enumerate(content):
        pieces += _part_pieces(part, f"{path}[{index}]`", rules)
    return pieces


def _text_pieces(text: str, rules: ContentRules) -> Content:
    if rules.has_markdown and rules.takes_images:
        return [
            *markdown.split(
                text, max_images=rules.max_images, has_local_images=rules.has_local_images
            )
        ]
    return [TextPiece(text)]


def _part_pieces(part: body.Part, path: str, rules: ContentRules) -> Content:
    match part.type:
        case "text" if part.text is not None:
            return _text_pieces(part.text, rules)
        case "image_url" if part.image_url is not None:
            _check_taken(path, rules)
            url = part.image_url
            url = url if isinstance(url, str) else url.url
            return [markdown.image_at(url, has_local_images=rules.has_local_images)]
        case "image_embeds" if part.image_embeds is not None:
            _check_taken(path, rules)
            if not rules.has_image_embeds:
                raise ValidationError(f"{path}: {EMBEDS_REFUSED}")
            given = part.image_embeds
            data = given if isinstance(given, str) else given.image_embeds
            return [EmbedsPiece(data, f"{path}: `image_embeds`")]
        case "text" | "image_url" | "image_embeds":
            raise ValidationError(f"{path} has the type `{part.type}` and no `{part.type}`")
    raise ValidationError(
        f"{path}: `type` must be `text` or `image_url`. Given: `{part.type[:40]}`"
    )


def _check_taken(path: str, rules: ContentRules) -> None:
    if not rules.takes_images:
        raise ValidationError(f"{path} is an image: this model takes no images")


def _message(message: body.Message, pieces: Content | None, forms: Forms, marks: Marks) -> Message:
    """The keys that the client gave, and no others: templates ask which are there."""
    given = {
        "role": message.role,
        "content": None if pieces is None else _content(message, pieces, forms, marks),
        "name": marks.mark(message.name),
        "tool_calls": _tool_calls(message.tool_calls, marks),
        "tool_call_id": marks.mark(message.tool_call_id),
        "reasoning_content": marks.mark(message.reasoning_content),
        "reasoning": marks.mark(message.reasoning),
        "thinking": marks.mark(message.thinking),
    }
    return {key: value for key, value in given.items() if value is not None}


def _content(message: body.Message, pieces: Content, forms: Forms, marks: Marks) -> Any:
    """A string where the client gave one and the template takes it, else parts."""
    has_images = any(map(_is_image, pieces))
    if has_images and forms.image_mark is None:
        return _as_text(pieces, marks)
    is_text = isinstance(message.content, str) and not has_images
    if forms.takes_parts and not (is_text and forms.takes_text):
        return _as_parts(pieces, marks)
    return _as_text(pieces, marks)


def _as_parts(pieces: Content, marks: Marks) -> list[dict[str, str]]:
    return [
        {"type": "text", "text": marks.mark(piece.text)}
        if isinstance(piece, TextPiece)
        else {"type": "image"}
        for piece in pieces
    ]


def _as_text(pieces: Content, marks: Marks) -> str:
    texts = (marks.mark(p.text) if isinstance(p, TextPiece) else IMAGE for p in pieces)
    return "".join(texts)


def _tool_calls(calls: list[body.ToolCall] | None, marks: Marks) -> list[dict[str, Any]] | None:
    """With their arguments as objects, which is what templates expect; none instead of no calls."""
    return [_tool_call(call, marks) for call in calls] if calls else None


def _tool_call(call: body.ToolCall, marks: Marks) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": _arguments(call.function.arguments)}
    given = {"id": call.id, "type": call.type or "function", "function": function}
    marked: dict[str, Any] = marks.mark({k: v for k, v in given.items() if v is not None})
    return marked


def _arguments(given: str | dict[str, Any] | None) -> Any:
    if not isinstance(given, str):
        return {} if given is None else given
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError):
        return given
