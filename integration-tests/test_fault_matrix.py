"""A short run of `make faults`: processes die, and no stream is lost or altered."""

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from disturbance import (
    COMPILE_WORKER_KILLED,
    IMAGE_WORKER_KILLED,
    ROUTER_KILLED,
    SHARD_HANGS,
    SHARD_KILLED,
    SHARD_OUT_OF_MEMORY,
    Disturbance,
    Fault,
    Reader,
    serve_disturbed,
)
from harness import Server, post, wait_until
from jobs import JOBS

ROUNDS = [
    (IMAGE_WORKER_KILLED, "prefill", 8),
    (COMPILE_WORKER_KILLED, "idle", 4),
    (SHARD_OUT_OF_MEMORY, "prefill", 10),
    (SHARD_HANGS, "loading", 4),
    (ROUTER_KILLED, "mid-stream", 4),
]


@pytest.fixture(scope="module")
def disturbance() -> Iterator[Disturbance]:
    with serve_disturbed("--step-timeout", "6") as server:
        yield Disturbance(server)


@pytest.mark.parametrize(("fault", "moment", "num_streams"), ROUNDS)
def test_no_stream_is_lost_or_altered(
    disturbance: Disturbance, fault: Fault, moment: str, num_streams: int
) -> None:
    outcome = disturbance.round(fault, moment, num_streams, which=1)
    assert (outcome.num_lost, outcome.num_altered) == (0, 0), outcome.failures
    assert outcome.num_kills == (2 if moment == "loading" else 1)


def test_sigterm_lets_streams_end_even_if_a_shard_dies(disturbance: Disturbance) -> None:
    """The last test of this server."""
    server, undisturbed = disturbance.server, [*disturbance.undisturbed.values()] * 2
    readers = [Reader(server, job) for job in JOBS * 2]
    wait_until(lambda: all(reader.is_in_its_midst for reader in readers))
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: status(server, "/health?ready") == 503)
    assert SHARD_KILLED.strike(server) == 1
    assert status(server, "/health") == 200
    code, body, headers = post(f"{server.url}/generate", {"inputs": "late"})
    assert (code, body["error_type"], headers["retry-after"]) == (429, "overloaded", "1")
    for reader, answer in zip(readers, undisturbed, strict=True):
        reader.join()
        assert reader.failure is None
        assert reader.answer == answer
    assert server.process.wait(timeout=30) == 0


def status(server: Server, path: str) -> int:
    """What a GET answers."""
    try:
        with urllib.request.urlopen(server.url + path, timeout=30) as reply:
            code: int = reply.status
            return code
    except urllib.error.HTTPError as error:
        with error:
            return error.code
