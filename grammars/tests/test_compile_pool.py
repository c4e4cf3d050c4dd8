"""The pool answers while a bomb compiles, and outlives grammars that kill their compiler."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from running_pool import BOMB, MIB, PATIENT, SMALL, Running, process_id, refusal
from tokenizers import Tokenizer

from inlay_grammars.limits import CompileLimits
from inlay_grammars.pool import CompilePool
from inlay_grammars.spec import GrammarSpec, SpecLimits

NOT = GrammarSpec("json", '{"not": {"pattern": "a"}}')


def chain(num_links: int) -> GrammarSpec:
    """Each definition needs the next."""
    definitions: dict[str, object] = {
        f"d{i}": {"type": "object", "properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}}}
        for i in range(num_links)
    }
    definitions[f"d{num_links}"] = {"type": "string"}
    return GrammarSpec("json", json.dumps({"$ref": "#/$defs/d0", "$defs": definitions}))


@pytest.fixture(scope="module")
def usual(tokenizer: Tokenizer) -> Iterator[Running]:
    """Lets chains through that kill the compiler."""
    spec_limits = SpecLimits(max_bytes=MIB, max_refs=3000)
    with Running(tokenizer, spec_limits=spec_limits) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tokenizer: Tokenizer) -> Iterator[Running]:
    """One compilation at once, which must not take long."""
    limits = CompileLimits(seconds=0.5, memory_bytes=4096 * MIB, max_workers=1)
    with Running(tokenizer, limits) as running:
        yield running


def test_accepts_and_refuses_as_the_compiler_does(usual: Running) -> None:
    async def scenario(pool: CompilePool) -> None:
        await pool.check(SMALL)
        await pool.check(GrammarSpec("regex", "[0-9]+"))
        for _ in range(2):
            assert "`not` at `/not`" in await refusal(pool, NOT)
        assert "unclosed group" in await refusal(pool, GrammarSpec("regex", "("))
        assert "is not JSON" in await refusal(pool, GrammarSpec("json", "{"))
        assert "bytes; the limit is" in await refusal(pool, GrammarSpec("json", " " * 2 * MIB))
        assert "4001 `$ref` targets; the limit is 3000" in await refusal(pool, chain(4000))

    usual.play(scenario)


def test_verdicts_outlive_the_process_that_gave_them(tokenizer: Tokenizer) -> None:
    async def scenario(pool: CompilePool) -> None:
        await pool.check(SMALL)
        message = await refusal(pool, NOT)
        await pool.stop()
        await pool.check(SMALL)
        assert await refusal(pool, NOT) == message
        assert pool.process_id is None

    with Running(tokenizer) as running:
        running.play(scenario)


def test_equal_grammars_are_tried_once_and_a_client_may_leave(usual: Running) -> None:
    async def scenario(pool: CompilePool) -> None:
        spec = GrammarSpec("regex", "equal")
        first = asyncio.create_task(pool.check(spec))
        second = asyncio.create_task(pool.check(spec))
        await asyncio.sleep(0)
        assert pool.num_trials == 1
        first.cancel()
        await second
        assert first.cancelled()

    usual.play(scenario)


def test_a_grammar_that_kills_its_compiler_is_refused(usual: Running) -> None:
    async def scenario(pool: CompilePool) -> None:
        before = pool.process_id
        assert "overflowed the stack" in await refusal(pool, chain(2500))
        assert pool.process_id == before
        await pool.check(GrammarSpec("regex", "after"))

    usual.play(scenario)


def test_a_grammar_that_takes_too_much_memory_is_refused(tokenizer: Tokenizer) -> None:
    async def scenario(pool: CompilePool) -> None:
        message = "the grammar takes more than 32 MiB to compile, the limit"
        assert await refusal(pool, BOMB) == message
        await pool.check(SMALL)

    with Running(tokenizer, CompileLimits(seconds=60, memory_bytes=32 * MIB)) as running:
        running.play(scenario)


def test_a_grammar_that_takes_too_much_time_is_refused_but_not_for_good(hasty: Running) -> None:
    async def scenario(pool: CompilePool) -> None:
        for _ in range(2):
            check = asyncio.create_task(refusal(pool, BOMB))
            await asyncio.sleep(0)
            assert pool.num_trials == 1
            assert await check == "the grammar takes more than 0.5 s to compile, the limit"

    hasty.play(scenario)


def test_no_more_compilations_at_once_than_allowed(hasty: Running) -> None:
    async def scenario(pool: CompilePool) -> None:
        order: list[str] = []

        async def check(name: str, spec: GrammarSpec) -> None:
            await asyncio.gather(pool.check(spec), return_exceptions=True)
            order.append(name)

        await asyncio.gather(check("bomb", BOMB), check("small", SMALL))
        assert order == ["bomb", "small"]

    hasty.play(scenario)


def test_other_checks_go_on_while_a_bomb_compiles(tokenizer: Tokenizer) -> None:
    async def scenario(pool: CompilePool) -> None:
        process = psutil.Process(process_id(pool))
        bomb = asyncio.create_task(pool.check(BOMB))
        for i in range(5):
            await pool.check(GrammarSpec("regex", f"[0-9]{{{i}}}"))
        assert not bomb.done()
        family = [process, *process.children()]
        assert len(family) == 2
        await pool.stop()
        assert bomb.cancelled()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []

    with Running(tokenizer, PATIENT) as running:
        running.play(scenario)


def test_a_tokenizer_that_cannot_be_used_refuses_every_grammar(tokenizer: Tokenizer) -> None:
    async def scenario() -> None:
        pool = CompilePool(tokenizer.to_str(), 100, [0])
        await pool.start()
        assert "the logits 100" in await refusal(pool, SMALL)
        await pool.stop()

    asyncio.run(scenario())


def test_the_router_imports_nothing_heavy() -> None:
    code = """
import sys
import inlay_grammars.pool, inlay_grammars.schema, inlay_grammars.verdict
heavy = {"torch", "transformers", "outlines", "llguidance", "tokenizers", "numpy"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
