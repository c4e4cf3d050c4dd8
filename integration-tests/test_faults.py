"""Processes are killed while clients read; no stream is lost or altered."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
from harness import EXAMPLES, Server, generate, markdown, serve, stream, wait_until
from jobs import orders

PICTURE = markdown(EXAMPLES / "shapes.png")
PROMPTS = [
    PICTURE + "What is this a picture of?\n\n",
    PICTURE + "Extract the objects as JSON.\n\n",
    "Tell me something.\n\n",
    "a b c d e",
]
LONG = {"max_new_tokens": 900, "grammar": orders(14)}


def collect(server: Server, prompt: str, parameters: dict[str, Any]) -> list[int]:
    """The token ids of a stream that must end without an error."""
    events = list(stream(server, prompt, **parameters))
    assert all("error" not in event for event in events), events[-1]
    assert events[-1]["generated_text"] is not None
    return [event["token"]["id"] for event in events]


def jobs() -> list[tuple[str, dict[str, Any]]]:
    sampled = {"max_new_tokens": 300, "do_sample": True, "temperature": 1.5, "seed": 11}
    return [(prompt, parameters) for prompt in PROMPTS for parameters in (LONG, sampled)]


def test_a_shard_that_hangs_is_started_again() -> None:
    with (
        serve("--dtype", "float32", "--step-timeout", "4") as server,
        ThreadPoolExecutor(2) as pool,
    ):
        undisturbed = list(pool.map(lambda job: collect(server, *job), jobs()[:2]))
        running = [pool.submit(collect, server, *job) for job in jobs()[:2]]
        (shard,) = server.children("inlay_shard")
        next(stream(server, "a b c", **LONG))
        shard.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_replaced(server, "inlay_shard", shard.pid))
        assert [future.result() for future in running] == undisturbed
        assert server.stop() == 0


def is_replaced(server: Server, module: str, old_pid: int) -> bool:
    return [child.pid for child in server.children(module)] not in ([], [old_pid])


def test_a_router_that_dies_is_back_without_a_new_shard() -> None:
    with serve("--dtype", "float32") as server:
        answer = generate(server, PROMPTS[0], max_new_tokens=30)
        (shard,) = server.children("inlay_shard")
        (router,) = server.children("inlay_router")
        router.send_signal(signal.SIGKILL)
        wait_until(lambda: is_replaced(server, "inlay_router", router.pid))
        assert generate(server, PROMPTS[0], max_new_tokens=30) == answer
        assert [child.pid for child in server.children("inlay_shard")] == [shard.pid]


def test_a_shard_that_dies_too_often_ends_the_server_with_its_cause() -> None:
    with serve("--dtype", "float32", "--max-deaths", "1") as server:
        events = stream(server, "a b c", **LONG)
        next(events)
        (shard,) = server.children("inlay_shard")
        shard.send_signal(signal.SIGKILL)
        assert list(events)[-1]["error_type"] == "incomplete_generation_stream"
        assert server.process.wait(timeout=30) == 1
    assert "shard 0 was ended by SIGKILL; it died too often" in server.lines[-1]


def test_nothing_outlives_the_launcher() -> None:
    with serve("--dtype", "float32") as server:
        below = psutil.Process(server.process.pid).children(recursive=True)
        assert len(below) >= 2
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        gone, alive = psutil.wait_procs(below, timeout=30)
        assert not alive
        assert len(gone) == len(below)
