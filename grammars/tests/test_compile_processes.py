"""Compile processes that are killed, hang or lose their pipe: others take their place."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from running_pool import BOMB, PATIENT, SMALL, Running, process_id, refusal
from tokenizers import Tokenizer

from inlay_grammars.limits import CompileLimits
from inlay_grammars.pool import CompilePool
from inlay_grammars.process import ProcessEnded
from inlay_grammars.spec import GrammarSpec


def next_children(process: psutil.Process, before: list[psutil.Process]) -> list[psutil.Process]:
    while (now := process.children()) in ([], before):
        time.sleep(0.01)
    return now


def test_a_compile_process_that_was_killed_is_replaced(tokenizer: Tokenizer) -> None:
    async def scenario(pool: CompilePool) -> None:
        process = psutil.Process(process_id(pool))
        bomb = asyncio.create_task(pool.check(BOMB))
        await pool.check(SMALL)  # so the bomb is under way
        (canary,) = process.children()
        process.kill()
        await pool.check(GrammarSpec("regex", "after"))
        assert process_id(pool) != process.pid
        assert not bomb.done()
        _, alive = psutil.wait_procs([canary], timeout=30)
        assert alive == []

    with Running(tokenizer, PATIENT) as running:
        running.play(scenario)


def test_a_compile_process_that_hangs_is_replaced(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inlay_grammars.process.HANG_SECONDS", 0.0)

    async def scenario(pool: CompilePool) -> None:
        before = process_id(pool)
        os.kill(before, signal.SIGSTOP)
        await asyncio.gather(pool.check(SMALL), pool.check(GrammarSpec("regex", "[ab]+")))
        assert process_id(pool) != before

    with Running(tokenizer, CompileLimits(seconds=2.0)) as running:
        running.play(scenario)


def test_a_compile_process_that_hangs_from_the_start(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inlay_grammars.process.START_SECONDS", 0.0)

    async def scenario() -> None:
        pool = CompilePool(tokenizer.to_str(), 1003, [0, 1])
        with pytest.raises(ProcessEnded):
            await pool.start()
        assert pool.process_id is None

    asyncio.run(scenario())


def test_a_compilation_that_was_killed_is_tried_again(tokenizer: Tokenizer) -> None:
    async def scenario(pool: CompilePool) -> None:
        process = psutil.Process(process_id(pool))
        bomb = asyncio.create_task(pool.check(BOMB))
        await pool.check(SMALL)  # so the bomb is under way
        canaries = process.children()
        canaries[0].kill()
        again = await asyncio.to_thread(next_children, process, canaries)
        assert len(again) == 1 and not bomb.done()
        assert process_id(pool) == process.pid

    with Running(tokenizer, PATIENT) as running:
        running.play(scenario)


def test_a_compilation_that_is_always_killed_is_refused(tokenizer: Tokenizer) -> None:
    async def scenario(pool: CompilePool) -> None:
        process = psutil.Process(process_id(pool))
        bomb = asyncio.create_task(refusal(pool, BOMB))
        while not bomb.done():
            for canary in process.children():
                canary.kill()
            await asyncio.sleep(0.01)
        assert "ended, repeatedly" in await bomb

    with Running(tokenizer, PATIENT) as running:
        running.play(scenario)


def test_a_process_whose_pipe_broke_is_replaced_before_its_end_is_seen(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(pool: CompilePool) -> None:
        before = pool.process_id
        write = asyncio.StreamWriter.write

        def fail_once(writer: asyncio.StreamWriter, data: bytes) -> None:
            monkeypatch.setattr(asyncio.StreamWriter, "write", write)
            raise BrokenPipeError

        monkeypatch.setattr(asyncio.StreamWriter, "write", fail_once)
        await pool.check(SMALL)
        assert pool.process_id != before

    with Running(tokenizer) as running:
        running.play(scenario)


def test_the_process_ends_when_its_parent_dies(tokenizer: Tokenizer) -> None:
    parent = """
import asyncio, os, sys
from inlay_grammars.pool import CompilePool
from inlay_grammars.process import ProcessEnded
async def main():
    pool = CompilePool(sys.stdin.read(), 1003, [0])
    await pool.start()
    print("ready", flush=True)
    os._exit(1)
asyncio.run(main())
"""
    # The compile process holds standard error too: this returns only when it has ended.
    done = subprocess.run(
        [sys.executable, "-c", parent],
        input=tokenizer.to_str(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "ready\n"), done.stderr
