"""Keywords that llguidance would take too lightly, beside what it needs to be exact."""

import math
from typing import Any, TypeGuard

from inlay_grammars.schemas.tree import Root, reachable

_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9][0-9][0-9])"
_BY_FOUR = "(0[48]|[2468][048]|[13579][26])"
_LEAP_YEAR = f"([0-9][0-9]{_BY_FOUR}|{_BY_FOUR}00)"
_DAYS = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = f"({_YEAR}-{_DAYS}|{_LEAP_YEAR}-02-29)"
_TIME = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
FORMATS: dict[str, Root] = {
    "date": {"pattern": f"^{_DATE}$"},
    "time": {"pattern": f"^{_TIME}"},
    "date-time": {"pattern": f"^{_DATE}[Tt]{_TIME}"},
    "hostname": {"maxLength": 253},
}
"""What holds beside a format: no year 0, no February 29 but in leap years, no second 60.
A leap second is at 23:59:60 UTC alone, and no regex can tell that from a time with an offset
(RFC 3339, section 5.7 and appendix D)."""

SMALLEST_STEP = 1e-9
"""From an exclusive bound that is a whole number to the next value allowed. llguidance takes 0 for
a number in the open interval from 0 to 0.5, and so wherever the other bound is less than 1 away."""


def narrow(root: Root) -> None:
    """Add to times and bounds all over a document, in place; nothing more is allowed by it."""
    for _, schema in list(reachable(root)):
        _narrow_format(schema)
        if schema.get("type") != "integer":
            _narrow_bound(schema, "exclusiveMinimum", "minimum", 1)
            _narrow_bound(schema, "exclusiveMaximum", "maximum", -1)


def _narrow_format(schema: dict[str, Any]) -> None:
    name, also = schema.get("format"), schema.get("allOf", [])
    if isinstance(name, str) and name in FORMATS and isinstance(also, list):
        schema["allOf"] = [*also, dict(FORMATS[name])]


def _narrow_bound(schema: dict[str, Any], exclusive: str, inclusive: str, sign: int) -> None:
    """Write an exclusive bound as an inclusive one beyond it, further than any float rounds."""
    bound, other = schema.get(exclusive), schema.get(inclusive)
    if not _is_number(bound):
        return
    nearest = bound + sign * max(SMALLEST_STEP, 4 * math.ulp(bound))
    if _is_number(other):
        nearest = sign * max(sign * nearest, sign * other)
    del schema[exclusive]
    schema[inclusive] = nearest


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a bound; one that a float cannot hold is left to the compiler."""
    is_plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_plain and abs(value) < 2**53
