"""How many fetches run at a time, and whose."""

import asyncio

import pytest
from scripted_router import eventually
from scripted_web import LIMITS, Answer, lead_all_names_to_loopback, ok, saying, web

from inlay_router.doors.clients import current_client
from inlay_router.images.fetch import Fetcher, FetchLimits


def test_no_more_fetches_at_a_time_than_allowed() -> None:
    num_open = 0
    most = 0

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal num_open, most
        num_open += 1
        most = max(most, num_open)
        await asyncio.sleep(0)
        writer.write(ok(b"x"))
        await writer.drain()
        num_open -= 1

    async def scenario() -> list[bytes]:
        limits = FetchLimits(image=LIMITS.image, has_private_addresses=True, max_concurrent=2)
        async with web(answer) as url, Fetcher(limits) as fetcher:
            return await asyncio.gather(*(fetcher.fetch(url) for _ in range(8)))

    assert asyncio.run(scenario()) == [b"x"] * 8
    assert most <= 2


def test_a_fetch_that_is_cancelled_leaves_its_place() -> None:
    async def scenario() -> bytes:
        entered = asyncio.Event()

        async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
            if head.startswith(b"GET /silent "):
                entered.set()
                await asyncio.Event().wait()
            writer.write(ok(b"x"))

        limits = FetchLimits(image=LIMITS.image, has_private_addresses=True, max_concurrent=1)
        async with web(answer) as url, Fetcher(limits) as fetcher:
            task = asyncio.create_task(fetcher.fetch(url + "/silent"))
            await entered.wait()
            task.cancel()
            await asyncio.wait([task])
            return await fetcher.fetch(url)

    assert asyncio.run(scenario()) == b"x"


def silent_host() -> tuple[asyncio.Queue[None], Answer]:
    """What a host does that never answers, and where it puts a mark for each that comes to it."""
    entered: asyncio.Queue[None] = asyncio.Queue()

    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        entered.put_nowait(None)
        await asyncio.Event().wait()

    return entered, silent


def test_a_slow_host_takes_no_more_than_its_places() -> None:
    async def scenario() -> bytes:
        entered, silent = silent_host()
        limits = FetchLimits(
            image=LIMITS.image,
            has_private_addresses=True,
            max_concurrent=2,
            max_concurrent_per_host=1,
        )
        async with web(silent) as slow, web(saying(ok(b"x"))) as quick, Fetcher(limits) as fetcher:
            waiting = [asyncio.create_task(fetcher.fetch(slow)) for _ in range(4)]
            await entered.get()
            body = await fetcher.fetch(quick.replace("127.0.0.1", "localhost"))
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert repr(fetcher._hosts) == "Places({})"
            return body

    assert asyncio.run(scenario()) == b"x"


def test_a_client_with_slow_hosts_leaves_places_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All are silent that it names; it has as many fetches under way as it may."""
    lead_all_names_to_loopback(monkeypatch)

    async def scenario() -> bytes:
        entered, silent = silent_host()
        limits = FetchLimits(
            image=LIMITS.image,
            has_private_addresses=True,
            max_concurrent=3,
            max_concurrent_per_client=2,
        )
        async with web(silent) as slow, web(saying(ok(b"x"))) as quick, Fetcher(limits) as fetcher:
            current_client.set("one")
            urls = [slow.replace("127.0.0.1", f"{number}.test") for number in range(7)]
            waiting = [asyncio.create_task(fetcher.fetch(url)) for url in urls]
            await entered.get()
            await entered.get()
            current_client.set("other")
            body = await fetcher.fetch(quick)
            assert entered.empty()
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert repr(fetcher._clients) == "Places({})"
            return body

    assert asyncio.run(scenario()) == b"x"


def test_a_client_that_waits_for_a_host_with_many_is_not_before_another() -> None:
    async def scenario() -> list[bytes]:
        asked: list[bytes] = []
        gate = asyncio.Event()

        async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
            asked.append(head.split()[1])
            await gate.wait()
            writer.write(ok(b"x"))

        limits = FetchLimits(
            image=LIMITS.image, has_private_addresses=True, max_concurrent_per_host=1
        )
        async with web(answer) as url, Fetcher(limits) as fetcher:
            current_client.set("one")
            many = [asyncio.create_task(fetcher.fetch(f"{url}/{n}")) for n in range(5)]
            await eventually(lambda: bool(asked))
            current_client.set("other")
            other = asyncio.create_task(fetcher.fetch(f"{url}/other"))
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*many, other)
            return asked

    assert asyncio.run(scenario())[:2] == [b"/0", b"/other"]
