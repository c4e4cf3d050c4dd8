"""Servers that several tests share."""

from collections.abc import Iterator

import pytest
from harness import Server, serve


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The embedded model on one shard, in float32."""
    with serve("--dtype", "float32") as running:
        yield running
