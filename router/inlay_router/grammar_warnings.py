"""Tells clients in a header what of their grammar is not enforced."""

import json
from collections.abc import Sequence

_MAX_BYTES = 2048
"""Of the header: proxies refuse heads of 8 KiB and more."""


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """`x-grammar-warnings`: a JSON array in ASCII, as warnings quote what clients wrote.

    No header without warnings. Of more than fit, the last entry says how many are left out.
    """
    if not warnings:
        return {}
    shown: list[str] = []
    num_bytes = 0
    for warning in warnings:
        num_bytes += len(json.dumps(warning)) + len(", ")
        if num_bytes > _MAX_BYTES:
            shown.append(f"and {len(warnings) - len(shown)} more")
            break
        shown.append(warning)
    return {"x-grammar-warnings": json.dumps(shown)}
