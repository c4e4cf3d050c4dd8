"""Which words of a library may be shown to a client."""

import re

_TELLING = re.compile(r"0x[0-9a-f]{4}|[/\\\\<>\n]|object at")
"""Addresses in memory, paths, and the insides of objects."""
_MAX_CHARACTERS = 200


def reason_of(error: Exception) -> str:
    """Of a refused value, the words that say what is wrong with it; of anything else, none."""
    words = str(error)
    is_about_values = isinstance(error, ValueError) and 0 < len(words) <= _MAX_CHARACTERS
    if not is_about_values or _TELLING.search(words):
        return ""
    return f": {words}"
