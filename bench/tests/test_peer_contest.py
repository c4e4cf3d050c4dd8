"""Rounds go on while there is time, engines take turns, and one that fails is left out."""

import asyncio
from collections.abc import Sequence
from typing import cast

from inlay_bench.adapters.stream import Prompt, Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.peers.contest import Contest, warm_up_rows
from inlay_bench.peers.engine_process import EngineProcess
from inlay_bench.peers.recipe import Recipe
from inlay_bench.peers.workload import Row, Words
from inlay_bench.vocabulary import build_tokenizer

ROWS = (Row(measure="prefill", num_prompt_tokens=4), Row(measure="prefill", num_prompt_tokens=8))
WORDS = Words(build_tokenizer(20_400))


class ScriptedEngine:
    """Answers at once, or fails from some call on; notes that it was called."""

    def __init__(self, name: str, diary: list[str], num_answers: int = 100) -> None:
        self.recipe = Recipe(name=name, modules={}, settings="")
        self._diary = diary
        self._num_answers = num_answers

    async def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        self._diary.append(self.recipe.name)
        if self._num_answers == 0:
            raise BenchFailed("out of memory")
        self._num_answers -= 1
        return [Stream([7] * num_new_tokens, [0.5] * num_new_tokens) for _ in prompts]

    def peak_bytes(self) -> int:
        return 1000


def contest(engines: Sequence[ScriptedEngine], times: Sequence[float] = ()) -> Contest:
    """Over two rows; the clock shows `times` one after the other, then stands still."""
    shown = iter(times)
    return Contest(
        engines=cast(Sequence[EngineProcess], engines),
        rows=ROWS,
        words=WORDS,
        say=lambda words: None,
        clock=lambda: next(shown, times[-1] if times else 0.0),
    )


def test_who_comes_first_moves_on_with_rows_and_rounds() -> None:
    diary: list[str] = []
    measured = contest([ScriptedEngine("a", diary), ScriptedEngine("b", diary)])
    assert asyncio.run(measured.run(seconds=1.0, max_rounds=2)) == 2
    warm_up, rounds = diary[:2], diary[2:]
    assert warm_up == ["a", "b"]
    assert rounds == ["a", "b", "b", "a", "b", "a", "a", "b"]
    assert measured.tallies["a"].figures == {
        "prefill, 4 tokens": [8.0, 8.0],
        "prefill, 8 tokens": [16.0, 16.0],
    }
    assert measured.tallies["b"].first_tokens == [7, 7, 7, 7]
    assert measured.tallies["b"].peak_bytes == 1000


def test_a_round_that_would_not_end_in_time_is_not_begun() -> None:
    start, began, ended = 0.0, 1.0, 5.0
    measured = contest([ScriptedEngine("a", [])], [start, began, ended, ended])
    assert asyncio.run(measured.run(seconds=8.0, max_rounds=9)) == 1


def test_the_first_round_is_run_whatever_the_time() -> None:
    measured = contest([ScriptedEngine("a", [])])
    assert asyncio.run(measured.run(seconds=-5.0, max_rounds=9)) == 1


def test_an_engine_that_fails_is_left_out_and_its_figures_stay() -> None:
    diary: list[str] = []
    engines = [ScriptedEngine("a", diary), ScriptedEngine("b", diary, num_answers=2)]
    measured = contest(engines)
    asyncio.run(measured.run(seconds=1.0, max_rounds=3))
    assert measured.tallies["b"].failure == "out of memory"
    assert measured.tallies["b"].figures == {"prefill, 4 tokens": [8.0]}
    assert diary.count("a") == 7 and diary.count("b") == 3


def test_warm_up_is_wide_and_short() -> None:
    narrow = Row(measure="decode", num_prompts=1, num_prompt_tokens=128, num_new_tokens=48)
    wide = Row(measure="decode", num_prompts=32, num_prompt_tokens=128, num_new_tokens=48)
    decode, prefill = sorted(warm_up_rows([narrow, wide, *ROWS]), key=lambda row: row.measure)
    assert (decode.num_prompts, decode.num_prompt_tokens, decode.num_new_tokens) == (32, 4, 4)
    assert prefill == ROWS[0]
