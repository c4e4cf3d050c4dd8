"""What the tests of the front share: one model for all of them."""

from collections.abc import Iterator

import pytest

from inlay import LLM


@pytest.fixture(scope="session")
def llm() -> Iterator[LLM]:
    """The embedded model in this process, in float32."""
    with LLM(dtype="float32", num_threads=1) as loaded:
        yield loaded
