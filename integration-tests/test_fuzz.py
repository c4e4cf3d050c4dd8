"""A short run of the fuzzer: what was ever found, and some more damage for every door."""

import asyncio
import json
import logging

import pytest
from fuzz.bodies import BODIES
from fuzz.loop import Outcome, run
from fuzz.target import Target, Try, Wrong
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NUM_INPUTS = 600
"""Over all doors, in proportion to their weights."""


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
@pytest.mark.filterwarnings("ignore")
def test_nothing_gets_through(target: Target) -> None:
    logging.disable(logging.CRITICAL)
    outcome = Outcome()
    total_weight = sum(target.weight for target in TARGETS)
    num_inputs = NUM_INPUTS * target.weight // total_weight
    try:
        asyncio.run(
            run(target, num_inputs, 0, note=lambda data: None, outcome=outcome, saves=False)
        )
    finally:
        logging.disable(logging.NOTSET)
    assert not outcome.findings, "\n".join(outcome.findings)
    assert outcome.num_inputs > num_inputs


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
"""Of any form; NaN and infinities are what Python writes, which is no JSON."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field=st.sampled_from(["messages", "tools", "response_format", "stop", "n"]), value=JSON)
def test_no_value_of_a_field_gets_through(field: str, value: object) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], field: value}
    data = b"/v1/chat/completions\n" + json.dumps(body).encode("utf-8", "surrogatepass")

    async def scenario() -> None:
        async with BODIES.open() as attempt:
            await attempt(data)

    asyncio.run(scenario())


def test_what_is_wrong_is_found_and_told() -> None:
    """A door that cannot bear one byte does not pass."""

    async def attempt(data: bytes) -> str:
        if b"\0" in data:
            raise Wrong("a null")
        return str(len(data) // 10)

    class Opened:
        async def __aenter__(self) -> Try:
            return attempt

        async def __aexit__(self, *_: object) -> None: ...

    target = Target(
        name="glass",
        seeds=lambda: [b"seed"],
        mutate=lambda data, other, chance: data + bytes([chance.randrange(256)]),
        open=Opened,
        weight=1,
    )
    outcome = Outcome()
    asyncio.run(run(target, 2000, 0, note=lambda data: None, outcome=outcome, saves=False))
    assert "glass: a known input" in outcome.findings[0]
    assert "a null" in outcome.findings[0]
