"""Rounds that fit into the time, and what the metrics of a round say of masks."""

import asyncio

from inlay_bench.rounds import in_turn, rounds
from inlay_bench.scrape import scrape
from inlay_bench.serving.grammar import GrammarPoint, describe
from inlay_bench.serving.mask_times import MaskTimes, mask_times


def test_the_first_round_is_run_whatever_the_time() -> None:
    assert list(rounds(3, minutes=0)) == [0]
    assert list(rounds(3, minutes=1)) == [0, 1, 2]


def test_who_comes_first_changes() -> None:
    assert [in_turn(index)[0] for index in range(4)] == [False, True, False, True]


def metrics(num_steps: int, filling: float, waiting: float) -> dict[str, float]:
    return {
        "inlay_step_duration_count": num_steps,
        "inlay_step_fill_duration_sum": filling,
        "inlay_step_mask_duration_sum": waiting,
    }


def test_times_are_those_of_the_round_alone() -> None:
    times = mask_times(metrics(10, 5.0, 4.0), metrics(110, 5.1, 4.025))
    assert times == MaskTimes(filling=1000.0, waiting=250.0)
    assert times.hidden == 0.75
    assert MaskTimes(filling=0.0, waiting=3.0).hidden == 1.0
    assert MaskTimes(filling=2.0, waiting=3.0).hidden == 0.0


def test_what_is_hidden_is_said() -> None:
    masks = [MaskTimes(filling=800.0, waiting=8.0)]
    point = GrammarPoint(num_streams=8, free=[100.0], held=[99.0], masks=masks)
    assert describe(point).endswith("masks take 800 µs a step, of which it waits 8: 99% are hidden")


def test_samples_without_labels_are_read() -> None:
    page = b'HTTP/1.1 200 OK\r\n\r\n# HELP a b\na_sum 1.5e-05\nb 2.0\nc{le="1"} 3.0\n'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(page)
        writer.close()

    async def scenario() -> dict[str, float]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            return await scrape("127.0.0.1", server.sockets[0].getsockname()[1])

    assert asyncio.run(scenario()) == {"a_sum": 1.5e-05, "b": 2.0}
