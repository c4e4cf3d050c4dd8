"""Servers that several tests share."""

from collections.abc import Iterator

import pytest
from harness import Server, serve

from inlay import EngineConfig, Pipeline, pipeline


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The embedded model on one shard, in float32."""
    with serve("--dtype", "float32") as running:
        yield running


@pytest.fixture(scope="session")
def pipe() -> Iterator[Pipeline]:
    """The embedded model in this process, in float32."""
    with pipeline(backend_config=EngineConfig(dtype="float32")) as running:
        yield running
