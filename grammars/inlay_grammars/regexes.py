"""Regexes as text: what every backend takes for a literal, and which ones all of them agree on."""

import re

_META = frozenset(r"\.+*?()|[]{}^$#&-~/")

_PLAIN_ESCAPE = r"\\[dDntr\\.+*?()|\[\]{}^$#&~/-]"
_PLAIN_CLASS = rf"\[\^?(?:{_PLAIN_ESCAPE}|[^\[\]\\&~^-]|[A-Za-z0-9]-[A-Za-z0-9])+\]"
_PLAIN_REPEAT = r"(?:[*+?]|\{\d+(?:,\d*)?\})?"
_PLAIN = re.compile(
    rf"(?:(?:{_PLAIN_ESCAPE}|{_PLAIN_CLASS}|\)|[^\\\[\](){{}}.^$|*+?]){_PLAIN_REPEAT}"
    r"|\((?:\?:)?(?![?*+{])|\|)*+"
)


def literal(text: str) -> str:
    """A regex for exactly this text, also inside `[]` for one of its characters."""
    return "".join("\\" + character if character in _META else character for character in text)


def is_plain_regex(regex: str) -> bool:
    """Whether it holds nothing that xgrammar reads in another way than Rust, such as `.`."""
    return _PLAIN.fullmatch(regex) is not None
