"""A pool of compile processes and the loop that it runs in, and what it is given to compile."""

import asyncio
import json
from collections.abc import Callable, Coroutine

import pytest
from tokenizers import Tokenizer

from inlay_grammars.limits import CompileLimits
from inlay_grammars.pool import CompilePool
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits

MIB = 1024 * 1024
SMALL = GrammarSpec("json", '{"type": "integer"}')
# Half a minute and gigabytes, from a kilobyte.
BOMB = GrammarSpec(
    "json",
    json.dumps(
        {
            "type": "string",
            "allOf": [{"pattern": f"(a|b)*a(a|b){{{i}}}c*"} for i in range(1, 30)],
        }
    ),
)
# Nothing that a bomb would reach before its test is over.
PATIENT = CompileLimits(seconds=100, memory_bytes=4096 * MIB)


class Running:
    """A started pool and the loop that it runs in; starting one takes a second."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        limits: CompileLimits | None = None,
        spec_limits: SpecLimits | None = None,
    ) -> None:
        self._runner = asyncio.Runner()
        self.pool = CompilePool(
            tokenizer.to_str(), 1003, [0, 1], limits=limits, spec_limits=spec_limits
        )

    def __enter__(self) -> "Running":
        self._runner.run(self.pool.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.pool.stop())
        self._runner.close()

    def play(self, scenario: Callable[[CompilePool], Coroutine[object, object, None]]) -> None:
        self._runner.run(scenario(self.pool))


async def refusal(pool: CompilePool, spec: GrammarSpec) -> str:
    """Why the grammar is refused."""
    with pytest.raises(GrammarError) as caught:
        await pool.check(spec)
    return str(caught.value)


def process_id(pool: CompilePool) -> int:
    """Of the compile process, which runs."""
    assert pool.process_id is not None
    return pool.process_id
