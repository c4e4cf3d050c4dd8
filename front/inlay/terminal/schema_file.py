"""Reads the JSON schema that answers are held to."""

import json
from pathlib import Path
from typing import Any

from inlay.terminal.errors import BadSchema


def read_schema(path: Path) -> dict[str, Any]:
    """The schema in a file; out of TGI's `{"type": "json", "value": …}` too. Raises BadSchema."""
    try:
        schema = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSchema(f"the schema {path} cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadSchema(f"the schema {path} is no JSON: {error.msg} ({where})") from None
    except (UnicodeDecodeError, RecursionError):
        raise BadSchema(f"the schema {path} is no JSON") from None
    if not isinstance(schema, dict):
        raise BadSchema(f"the schema {path} must be a JSON object. Given: {type(schema).__name__}")
    is_wrapped = schema.get("type") == "json" and isinstance(schema.get("value"), dict)
    return schema["value"] if is_wrapped else schema
