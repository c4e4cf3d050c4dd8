import asyncio

import pytest
from scripted_router import serve

from inlay_router.errors import Leaving
from inlay_router.faults.departure import Departure


def test_it_is_complete_when_the_last_call_ends() -> None:
    async def scenario() -> None:
        departure = Departure()
        completing = asyncio.create_task(departure.complete())
        with departure.call():
            departure.begin()
            await asyncio.sleep(0)
            assert not completing.done()
            assert repr(departure) == "Departure(leaving, 1 calls)"
        await completing

    asyncio.run(scenario())


def test_it_is_complete_at_once_when_nobody_calls() -> None:
    departure = Departure()
    departure.begin()
    asyncio.run(departure.complete())


def test_calls_that_come_too_late_are_refused() -> None:
    departure = Departure()
    departure.begin()
    with pytest.raises(Leaving), departure.call():
        pass


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/v1/completions", "/tokenize"])
def test_a_refusal_sends_clients_to_another_server(path: str) -> None:
    async def scenario() -> None:
        async with serve() as edge, edge.client as client:
            edge.service.departure.begin()
            response = await client.post(path, json={"inputs": "x", "prompt": "x", "model": "m"})
            assert response.status_code == 429
            assert response.headers["retry-after"] == "1"
            assert response.headers["connection"] == "close"
            assert response.json()["error_type"] == "overloaded"

    asyncio.run(scenario())
