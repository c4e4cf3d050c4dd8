"""The order of a measurement: rounds of ours and theirs in turn, one at work at a time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from inlay_bench.batch import Batch, Side, count_equal
from inlay_bench.figures import Case, Round
from inlay_bench.options import BenchOptions
from inlay_bench.progress import Progress
from inlay_bench.prompts import Prompt, make_prompts
from inlay_bench.shape import ModelShape

NUM_WARM_UP_TOKENS = 4


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides that hold the same model in the same type."""

    inlay: Side
    generate: Side
    shape: ModelShape
    options: BenchOptions
    progress: Progress

    async def run(self, case: Case) -> list[Round]:
        """The measured rounds. Raises BenchFailed."""
        prompts = self.prompts(case, "warm-up")
        for side in (self.inlay, self.generate):
            await side.answer(prompts, NUM_WARM_UP_TOKENS)
        self.progress.advance(f"{case}: warmed up")
        rounds = []
        for index in range(self.options.num_rounds):
            prompts = self.prompts(case, f"round {index}")
            rounds.append(await self.run_round(case, prompts, is_ours_first=index % 2 == 0))
            self.progress.advance(f"{case}: {describe(rounds[-1])}")
        return rounds

    async def run_round(self, case: Case, prompts: list[Prompt], *, is_ours_first: bool) -> Round:
        """Both sides on the same prompts. Raises BenchFailed."""
        if not is_ours_first:
            theirs = await self.ask(self.generate, case, prompts)
        client_start = time.process_time()
        ours = await self.ask(self.inlay, case, prompts)
        client_seconds = time.process_time() - client_start
        if is_ours_first:
            theirs = await self.ask(self.generate, case, prompts)
        return Round(inlay=ours, generate=theirs, client_seconds=client_seconds)

    async def ask(self, side: Side, case: Case, prompts: list[Prompt]) -> Batch:
        """One side, its answers counted. Raises BenchFailed."""
        batch = await side.answer(prompts, self.options.num_new_tokens)
        batch.check(case.num_streams, self.options.num_new_tokens)
        return batch

    def prompts(self, case: Case, moment: str) -> list[Prompt]:
        """Prompts that come only once in a run."""
        return make_prompts(
            case.kind,
            case.num_streams,
            self.options.num_prompt_tokens,
            self.shape.vision.num_image_tokens,
            seed=f"{case}, {moment}",
        )


def cases(options: BenchOptions, dtype: str) -> Iterator[Case]:
    """All cases of one type."""
    for kind in options.kinds:
        for num_streams in options.stream_counts:
            yield Case(dtype=dtype, kind=kind, num_streams=num_streams)


def describe(measured: Round) -> str:
    """One round in a few words."""
    ours, theirs = measured.inlay.tokens_per_second, measured.generate.tokens_per_second
    num_equal = count_equal(measured.inlay, measured.generate)
    speeds = f"inlay {ours:.1f}, generate {theirs:.1f} tokens/s"
    return f"{speeds}, {num_equal} of {len(measured.inlay.texts)} answers equal"
