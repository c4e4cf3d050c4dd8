"""Why llguidance refuses a grammar, in words for whoever wrote it."""

MAX_REASON = 500
OVERLAP = "the alternatives may overlap, which cannot be enforced; use `anyOf`"
"""Of a `oneOf`."""


def reason(error: str) -> str:
    """What llguidance says is wrong, without our wrapping and its internals.

    Up to `MAX_REASON` characters, since it may quote the whole grammar.
    """
    if error.startswith("NoExtension"):
        return "it allows no answer at all"
    if "coerce_one_of" in error:
        return OVERLAP
    for wrapping in ("\n<non-verbose/>", "\n   1 | start:"):
        error = error.partition(wrapping)[0]
    return error.strip()[:MAX_REASON]
