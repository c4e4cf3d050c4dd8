"""Values by which clients ask for nothing, under keys that this server does not know.

Many clients write out the defaults of the server that they were made for. A default changes
nothing, so it is taken; any other value of such a key is refused with its name.
"""

from typing import Any

import msgspec

_NEUTRAL: dict[str, Any] = {
    "detokenize": True,
    "early_stopping": False,
    "echo": False,
    "function_call": "none",
    "functions": [],
    "include_reasoning": True,
    "include_stop_str_in_output": False,
    "length_penalty": 1.0,
    "logits_processors": [],
    "modalities": ["text"],
    "num_beams": 1,
    "num_return_sequences": 1,
    "priority": 0,
    "return_token_ids": False,
    "return_tokens_as_token_ids": False,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "use_beam_search": False,
    "use_cache": True,
    "verbosity": "medium",
}
"""Of OpenAI's own API, of vLLM and of `transformers`; where a body knows the key, too, its default
changes nothing either."""


def asks_for_nothing(name: str, value: msgspec.Raw) -> bool:
    """Whether a key that nobody knows may be left out: it is null, or has its default."""
    if bytes(value) == b"null":
        return True
    if name not in _NEUTRAL:
        return False
    neutral = _NEUTRAL[name]
    try:
        given = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    # To Python, True is 1 and 1 is 1.0.
    return bool(given == neutral) and isinstance(given, bool) == isinstance(neutral, bool)
