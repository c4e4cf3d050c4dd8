"""What a chat template understands, found out by rendering a few messages with it."""

from dataclasses import dataclass

from inlay_router.chat.template import ChatTemplate, Message
from inlay_router.errors import TemplateError

_BEFORE = "kzq"
_BEHIND = "qzk"
_PARTS = [{"type": "text", "text": _BEFORE}, {"type": "image"}, {"type": "text", "text": _BEHIND}]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forms:
    """The forms of `content` that a template shows as they are meant."""

    takes_text: bool
    """A string."""
    takes_parts: bool
    """A list of parts with text."""
    image_mark: str | None
    """What the template writes for a part that is an image; None if it shows none."""


def forms_of(template: ChatTemplate, variables: dict[str, object]) -> Forms:
    """`variables` are those of every rendering, such as `bos_token`."""
    plain = _render(template, variables, _BEFORE + _BEHIND)
    parts = _render(template, variables, [_PARTS[0], _PARTS[2]])
    takes_parts = (
        _shows(parts, _BEFORE, _BEHIND) and "'type'" not in parts and '"type"' not in parts
    )
    with_image = _render(template, variables, _PARTS) if takes_parts else ""
    return Forms(
        takes_text=_shows(plain, _BEFORE + _BEHIND) or not takes_parts,
        takes_parts=takes_parts,
        image_mark=_inserted(parts, with_image) if takes_parts else None,
    )


def _render(template: ChatTemplate, variables: dict[str, object], content: object) -> str:
    message: Message = {"role": "user", "content": content}
    try:
        return template.render([message], variables)
    except TemplateError:
        return ""


def _shows(text: str, *words: str) -> bool:
    return all(word in text for word in words)


def _inserted(without: str, with_image: str) -> str | None:
    """What stands in the second text and not in the first, without the space around it."""
    if len(with_image) <= len(without):
        return None
    num_before = 0
    while num_before < len(without) and without[num_before] == with_image[num_before]:
        num_before += 1
    num_behind = len(without) - num_before
    if num_behind and not with_image.endswith(without[num_before:]):
        return None
    return with_image[num_before : len(with_image) - num_behind].strip() or None
