"""Rounds of ours and theirs come in turn, on prompts that come only once."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from inlay_bench.batch import Batch, BenchFailed
from inlay_bench.comparison import Comparison, cases
from inlay_bench.figures import Case, Round
from inlay_bench.options import BenchOptions
from inlay_bench.progress import Progress
from inlay_bench.prompts import Prompt
from inlay_bench.shape import BENCH_SHAPE

CASE = Case(dtype="float32", kind="text", num_streams=2)


@dataclass
class ScriptedSide:
    """Writes down in a shared diary what it is asked, and answers with tokens of its own."""

    name: str
    diary: list[tuple[str, tuple[Prompt, ...]]]
    num_missing: int = 0

    async def answer(self, prompts: Sequence[Prompt], num_new_tokens: int) -> Batch:
        self.diary.append((self.name, tuple(prompts)))
        return Batch(
            first_token_seconds=(0.5,) * len(prompts),
            last_token_seconds=(1.0,) * len(prompts),
            token_ids=(tuple(range(num_new_tokens - self.num_missing)),) * len(prompts),
            texts=("text",) * len(prompts),
        )


def compare(num_missing: int = 0) -> tuple[list[Round], list[tuple[str, tuple[Prompt, ...]]], str]:
    """Rounds, diary and progress of three rounds."""
    diary: list[tuple[str, tuple[Prompt, ...]]] = []
    output = io.StringIO()
    comparison = Comparison(
        inlay=ScriptedSide("inlay", diary, num_missing),
        generate=ScriptedSide("generate", diary),
        shape=BENCH_SHAPE,
        options=BenchOptions(num_rounds=3, num_new_tokens=8, num_prompt_tokens=5),
        progress=Progress(4, output),
    )
    return asyncio.run(comparison.run(CASE)), diary, output.getvalue()


def test_who_comes_first_alternates_behind_a_warm_up() -> None:
    rounds, diary, progress = compare()
    warm_up, measured = ["inlay", "generate"], ["inlay", "generate"]
    names = [name for name, _prompts in diary]
    assert names == warm_up + measured + measured[::-1] + measured
    assert len(rounds) == 3
    assert "[4/4" in progress.splitlines()[-1]
    assert progress.endswith("inlay 16.0, generate 16.0 tokens/s, 2 of 2 answers equal\n")


def test_both_sides_get_the_same_prompts_and_no_prompt_comes_twice() -> None:
    _rounds, diary, _progress = compare()
    pairs = [(diary[place][1], diary[place + 1][1]) for place in range(0, len(diary), 2)]
    assert all(ours == theirs for ours, theirs in pairs)
    prompts = [prompt for ours, _theirs in pairs for prompt in ours]
    assert len(set(prompts)) == len(prompts) == 8


def test_an_answer_of_another_length_ends_the_measurement() -> None:
    with pytest.raises(BenchFailed, match=r"of 8 tokens were asked for; got \[7, 7\]"):
        compare(num_missing=1)


def test_every_kind_meets_every_number_of_streams() -> None:
    options = BenchOptions(kinds=("text", "image"), stream_counts=(1, 8))
    assert list(map(str, cases(options, "bfloat16"))) == [
        "bfloat16, text, 1 stream",
        "bfloat16, text, 8 streams",
        "bfloat16, image, 1 stream",
        "bfloat16, image, 8 streams",
    ]
