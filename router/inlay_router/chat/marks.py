"""Keeps what users typed apart from what the template wrote, though both become one text.

Special tokens and image placeholders that a user types stand between two marks while the template
is rendered; behind it, they are text. The marks are those of `transformers`
(`apply_chat_template(…, sanitize_control_tokens=True)`), whose processors read them too.
"""

import re
from collections.abc import Iterable
from typing import Any

START = "\U000f0000"
END = "\U000f0001"
IMAGE = "\U000f0002"
"""Stands for an image in a template that knows only text."""

_FORGED = re.compile(f"[{START}{END}{IMAGE}]")


class Marks:
    """Marks and finds the control tokens of one model."""

    def __init__(self, control_tokens: Iterable[str]) -> None:
        # Longer ones first, so that a token takes precedence over the tokens that it contains.
        longest_first = sorted(filter(None, control_tokens), key=len, reverse=True)
        any_token = "|".join(map(re.escape, longest_first)) or "(?!)"
        self._token = re.compile(any_token)
        self._marked = re.compile(f"{START}({any_token}){END}|[{START}{END}]")

    def mark(self, value: Any) -> Any:
        """`value`, JSON of any form, with marks around every control token in its strings.

        What is no string, and the keys of objects, stay as they are.
        """
        match value:
            case str():
                return self._token.sub(f"{START}\\g<0>{END}", _FORGED.sub("", value))
            case dict():
                return {key: self.mark(item) for key, item in value.items()}
            case list():
                return [self.mark(item) for item in value]
        return value

    def unmark(self, text: str) -> str:
        """A rendered text as people read it."""
        return self._marked.sub(lambda found: found[1] or "", text)

    def pieces(self, text: str) -> list[tuple[str, bool]]:
        """A rendered text in pieces that are not empty, and whether each was typed by a user.

        A template can tear the marks around a token apart; one that is alone divides the text, so
        that its two sides cannot join into a control token.
        """
        parts: list[str | None] = self._marked.split(text)
        return [(part, index % 2 == 1) for index, part in enumerate(parts) if part]


def has_marks(text: str) -> bool:
    """Whether any piece of a rendered text was typed by a user."""
    return START in text or END in text


def split_at_images(text: str, placeholder: str) -> list[str]:
    """The texts between the images of a rendered text; typed placeholders are no images."""
    pattern = f"{START}[^{END}]*{END}|({re.escape(placeholder)})"
    texts, begin = [], 0
    for found in re.finditer(pattern, text):
        if found[1] is not None:
            texts.append(text[begin : found.start()])
            begin = found.end()
    return [*texts, text[begin:]]
