"""An engine in a process of its own, from its first line to its end."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from inlay_bench.adapters.stream import Load, Prompt, Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.peers.engine_process import EngineProcess, start_engine
from inlay_bench.peers.environment import python_of
from inlay_bench.peers.recipe import Recipe

PROGRAM = """
import time
from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.stream import Stream

class Echo:
    def __init__(self, load):
        print("a library says hello")
        if load.dtype != "bfloat16":
            raise ValueError(f"no {load.dtype} here")

    def generate(self, prompts, num_new_tokens):
        if num_new_tokens > 9:
            raise RuntimeError("too many tokens")
        if num_new_tokens == 9:
            raise SystemExit("gone")
        now = time.perf_counter()
        return [Stream(p.token_ids[:num_new_tokens], [now] * num_new_tokens) for p in prompts]

    def close(self):
        pass

serve(Echo)
"""
PROMPT = Prompt(token_ids=[3, 4, 5], text="three", picture=b"\x89PNG")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """An engine that gives prompts back."""
    (tmp_path / "echo_engine.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Recipe(name="echo", modules={"text": "echo_engine"}, settings="")


def load(folder: Path, dtype: str = "bfloat16") -> Load:
    """For a model that nobody reads."""
    return Load(
        folder=folder,
        dtype=dtype,
        num_threads=1,
        num_streams=1,
        num_cache_tokens=16,
        has_images=False,
    )


def start(
    recipe: Recipe, folder: Path, dtype: str = "bfloat16"
) -> AbstractAsyncContextManager[EngineProcess]:
    """The engine, its words in a log."""
    python = python_of(recipe, folder)
    return start_engine(recipe, "text", python, load(folder, dtype), folder / "echo.log")


def test_prompts_go_there_and_streams_come_back(recipe: Recipe, tmp_path: Path) -> None:
    async def run() -> tuple[list[list[Stream]], int]:
        async with start(recipe, tmp_path) as engine:
            answers = [await engine.generate([PROMPT, PROMPT], num) for num in (1, 3)]
            return answers, engine.peak_bytes()

    (short, long), peak_bytes = asyncio.run(run())
    assert [stream.token_ids for stream in short] == [[3], [3]]
    assert [stream.token_ids for stream in long] == [[3, 4, 5], [3, 4, 5]]
    assert all(arrival >= 0 for stream in long for arrival in stream.arrivals)
    assert peak_bytes > 1_000_000
    assert "a library says hello" in (tmp_path / "echo.log").read_text()


def test_a_failed_call_is_named_and_the_engine_stays(recipe: Recipe, tmp_path: Path) -> None:
    async def run() -> list[Stream]:
        async with start(recipe, tmp_path) as engine:
            with pytest.raises(BenchFailed, match="RuntimeError: too many tokens"):
                await engine.generate([PROMPT], 10)
            return await engine.generate([PROMPT], 2)

    assert [stream.token_ids for stream in asyncio.run(run())] == [[3, 4]]


def test_an_engine_that_does_not_load_says_why(recipe: Recipe, tmp_path: Path) -> None:
    async def run() -> None:
        async with start(recipe, tmp_path, "float64"):
            pass

    with pytest.raises(BenchFailed, match="ValueError: no float64 here"):
        asyncio.run(run())


def test_an_engine_that_ends_leaves_its_last_words(recipe: Recipe, tmp_path: Path) -> None:
    async def run() -> None:
        async with start(recipe, tmp_path) as engine:
            await engine.generate([PROMPT], 9)

    with pytest.raises(BenchFailed, match=r"it ended: .*gone \(.*echo\.log\)"):
        asyncio.run(run())
