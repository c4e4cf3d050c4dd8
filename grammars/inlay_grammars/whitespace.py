"""Whitespace between JSON tokens, for backends that take a pattern or a bound."""

MAX_WHITESPACE = 8
"""In a row. Without a bound a model can write newlines until its budget is gone."""
WHITESPACE = rf"[\x20\x0A\x0D\x09]{{1,{MAX_WHITESPACE}}}"
OPTIONAL_WHITESPACE = rf"[\x20\x0A\x0D\x09]{{0,{MAX_WHITESPACE}}}"
