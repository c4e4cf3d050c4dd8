"""Requests that kill the process they run in, or fail in it; routers that die or come too many."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from disturbance import Reader, serve_disturbed
from harness import Server, generate, post, stream, wait_until
from jobs import JOBS, PICTURE, data_uri_of
from PIL import Image

POISON = "All the world's a stage.\n\n"
NEIGHBOURS = JOBS[:6]
UNTIL_THE_END = {"max_new_tokens": 2000, "grammar": {"type": "regex", "value": "[a-z ]{1900}"}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_disturbed("--max-deaths", "20") as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server: Server) -> list[dict[int, str]]:
    readers = [Reader(server, job) for job in NEIGHBOURS]
    for reader in readers:
        reader.join()
    return [reader.answer for reader in readers]


def poison(server: Server, way: str) -> None:
    """From now on a prompt that begins with POISON does this."""
    status, tokens, _ = post(f"{server.url}/tokenize", {"inputs": POISON})
    assert status == 200
    spoilt = {"token_ids": [token["id"] for token in tokens], "way": way}
    server.order("poison", json.dumps(spoilt))


def shard_id(server: Server) -> int:
    """The process of the one shard."""
    (shard,) = server.children("inlay_shard")
    return shard.pid


def ask_among_neighbours(
    server: Server, body: dict[str, object], undisturbed: list[dict[int, str]]
) -> tuple[int, str]:
    """Status and words of the answer; its neighbours are as if it had not been asked for."""
    readers = [Reader(server, job, variant=7) for job in NEIGHBOURS]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, f"{server.url}/generate", body, timeout=150)
        status, answer, _ = asked.result()
    for reader, answer_before in zip(readers, undisturbed, strict=True):
        reader.join()
        assert reader.failure is None
        assert reader.answer == answer_before
    return status, answer["error"]


@pytest.mark.parametrize(("way", "num_deaths"), [("fail", 0), ("exit", 3)])
def test_a_poisoned_prompt_fails_alone(
    server: Server, undisturbed: list[dict[int, str]], way: str, num_deaths: int
) -> None:
    poison(server, way)
    before = server.output().count("starting it again")
    status, words = ask_among_neighbours(server, {"inputs": POISON}, undisturbed)
    assert status == 424
    assert ("the model failed: RuntimeError" if way == "fail" else "it stops the shard") in words
    assert server.output().count("starting it again") - before == num_deaths


def test_a_poisoned_prompt_is_not_tried_again(server: Server) -> None:
    before = shard_id(server)
    status, body, _ = post(f"{server.url}/generate", {"inputs": POISON})
    assert (status, body["error_type"]) == (424, "generation")
    assert "it stops the shard" in body["error"]
    assert shard_id(server) == before


@pytest.mark.skipif("INLAY_LONG_TESTS" not in os.environ, reason="half a minute more of restarts")
def test_a_poisoned_picture_fails_alone(server: Server, undisturbed: list[dict[int, str]]) -> None:
    (server.mischief / "no-plain-pictures").touch()
    plain = BytesIO()
    Image.new("RGB", (64, 64), "white").save(plain, "PNG")
    body = {"inputs": f"![]({data_uri_of(plain.getvalue())})What is this?\n\n"}
    before = server.output().count("starting it again")
    status, words = ask_among_neighbours(server, dict(body), undisturbed)
    assert status == 424
    assert "its images could not be prepared: they stop the shard" in words
    assert server.output().count("starting it again") - before == 3
    fine = f"![]({data_uri_of(PICTURE.read_bytes())})What is this?\n\n"
    assert generate(server, fine, max_new_tokens=5)


def test_a_second_router_gets_no_shard(server: Server) -> None:
    (router,) = server.children("inlay_router")
    command = router.cmdline()
    address = command[command.index("--shard-address") + 1]
    second = subprocess.Popen(
        [sys.executable, "-m", "inlay_router", "--port", "0", "--shard-address", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with second:
        assert second.stderr is not None
        assert "another stream of steps is open" in second.stderr.readline()
        assert generate(server, "a b c", max_new_tokens=20)
        second.kill()


def test_a_router_that_dies_is_back_soon(server: Server) -> None:
    """How soon is measured by `make faults`; here it answers again, on the same shard."""
    before = shard_id(server)
    (router,) = server.children("inlay_router")
    begun = time.monotonic()
    router.kill()
    assert generate(server, "a b c", max_new_tokens=1)
    print(f"the router is back after {time.monotonic() - begun:.2f} s")
    assert shard_id(server) == before


def is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/health?ready", timeout=10):
            return True
    except OSError:
        return False


def test_two_signals_stop_at_once(server: Server) -> None:
    """The last test of this server."""
    have_begun = threading.Barrier(5, timeout=60)

    def read() -> object:
        events = stream(server, "a b c", **UNTIL_THE_END)
        next(events)
        have_begun.wait()
        return [*events][-1].get("error_type")

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        have_begun.wait()
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: not is_ready(server))  # the system merges signals that wait
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 0
    cut = "incomplete_generation_stream"
    ends = {reader.result() for reader in readers}
    assert cut in ends
    assert ends <= {cut, None}, "the first may have come to its end before the last began"
