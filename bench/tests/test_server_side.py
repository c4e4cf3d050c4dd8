"""Waiting for the ready line of a server."""

import asyncio
import sys
from pathlib import Path

import pytest

from inlay_bench.batch import BenchFailed
from inlay_bench.server_side import parse_address, ready_address

LOG = Path("server.log")


def wait_for(program: str) -> tuple[str, int]:
    """The address that a Python program announces."""

    async def run() -> tuple[str, int]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
        )
        try:
            return await ready_address(process, LOG)
        finally:
            await process.wait()

    return asyncio.run(run())


def test_the_address_stands_in_the_ready_line() -> None:
    lines = "loading\\ninlay is ready: http://127.0.0.1:3456"
    assert wait_for(f"print('{lines}')") == ("127.0.0.1", 3456)


def test_a_server_that_ends_names_its_log() -> None:
    with pytest.raises(BenchFailed, match=r"ended before it was ready; see server\.log"):
        wait_for("print('loading')")


def test_a_ready_line_without_a_port_is_refused() -> None:
    with pytest.raises(BenchFailed, match="names no host and port: http://localhost"):
        parse_address("http://localhost")
