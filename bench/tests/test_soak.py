"""A soak of seconds, and the parts that it is made of."""

import asyncio
from pathlib import Path

import pytest

from inlay_bench.soak.requests import soak_request
from inlay_bench.soak.result import SoakResult, page
from inlay_bench.soak.soak import soak
from inlay_bench.soak.watch import Held, Sample, slope


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    result = asyncio.run(
        soak(
            minutes=0.05,
            num_clients=64,
            num_looks=3,
            log=tmp_path / "soak.log",
            warm_up_seconds=1.0,
        )
    )
    assert result.leaks == []
    assert result.failures == []
    assert result.counts["answered"] > 0


def test_requests_are_distinct_and_the_same_every_time() -> None:
    requests = [soak_request(number, "host") for number in range(300)]
    assert len({request.data for request in requests}) == 300
    assert requests == [soak_request(number, "host") for number in range(300)]
    pictures = sum(b"data:image/png" in request.data for request in requests)
    grammars = sum(b"grammar" in request.data for request in requests)
    assert min(pictures, grammars) > 100
    assert any(request.leaves_after is not None for request in requests)
    assert any(request.is_slow for request in requests)


def a_sample(seconds: float, num_bytes: int) -> Sample:
    return Sample(seconds, 0, {"router": Held(num_bytes, 10, 2)})


def test_the_slope_is_that_of_the_later_half() -> None:
    sizes = [10, 20, 30, 40, 40, 40, 40, 40, 40]
    flat = [a_sample(60.0 * minute, size << 20) for minute, size in enumerate(sizes)]
    assert slope(flat, "router") == pytest.approx(0)
    rising = [a_sample(60.0 * minute, minute << 20) for minute in range(9)]
    assert slope(rising, "router") == pytest.approx(1)
    assert slope(flat, "shard") is None


def test_the_page_names_what_was_left_behind() -> None:
    result = SoakResult(
        machine="m",
        when="w",
        minutes=1.0,
        num_clients=2,
        counts={"answered": 3, "refused": 1},
        failures=[],
        samples=[a_sample(0.0, 1 << 20), a_sample(1.0, 2 << 20)],
        leaks=["9 files in router, 1 before"],
    )
    assert "4 requests: 3 answered, 1 refused" in page(result)
    assert "LEFT BEHIND: 9 files in router, 1 before" in page(result)
