"""What a server says an answer under a grammar needs at least."""

import re
from typing import Any

from harness import Server, post

NEEDED = re.compile(r"must be >= (\d+): the shortest answer found in the `grammar`")


def fewest_tokens(server: Server, grammar: dict[str, Any]) -> int:
    """What the server says an answer needs at least."""
    parameters = {"max_new_tokens": 1, "grammar": grammar}
    return needed(server, "/generate", {"inputs": "x", "parameters": parameters})


def needed(server: Server, path: str, body: dict[str, Any]) -> int:
    """The number in the refusal of a body that asks for too few tokens."""
    status, refusal, _ = post(server.url + path, body)
    assert status == 422, refusal
    found = NEEDED.search(refusal["error"])
    assert found, refusal
    return int(found.group(1))
