"""`format`: which ones are enforced, by whom, and which ones mean nothing to JSON Schema."""

ENFORCED = frozenset(
    ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
)
"""By llguidance."""

_POINTER = r"(?:/(?:[^~/]|~[01])*)*"

PATTERNS = {
    "json-pointer": rf"^{_POINTER}$",
    "relative-json-pointer": rf"^(?:0|[1-9][0-9]*)(?:#|{_POINTER})$",
}
"""Formats that are regular, and enforced by a pattern of ours. RFC 6901, and the draft
"Relative JSON Pointers"."""

NOT_ENFORCED = frozenset(
    ("idn-email", "idn-hostname", "iri", "iri-reference", "regex", "uri-reference", "uri-template")
)
"""Defined by JSON Schema 2020-12, and enforced by nobody. Any other format is an annotation, which
says nothing of what is valid (2020-12, Validation, section 7.2.3)."""
