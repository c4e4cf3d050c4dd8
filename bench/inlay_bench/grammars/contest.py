"""Tries each schema in every backend in turn."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from inlay_bench.grammars.cases import Case
from inlay_bench.grammars.side import Side
from inlay_bench.grammars.tally import SideFigures, Tally
from inlay_bench.grammars.trial import Outcome, Question, Trial
from inlay_bench.grammars.vocabularies import Vocabulary
from inlay_bench.progress import Progress
from inlay_grammars.pool import CompilePool
from inlay_grammars.spec import GrammarError, GrammarSpec

OURS = "inlay"


@dataclass
class Contest:
    """Sides that take turns on one vocabulary."""

    vocabulary: Vocabulary
    sides: Sequence[Side]
    pool: CompilePool
    """What a server asks before it accepts a grammar; only ours has one."""
    seconds_of_side: Mapping[str, float]
    """After which a side is asked no more, by name; a slow one would hold up the others."""

    async def run(self, cases: Sequence[Case], progress: Progress) -> list[SideFigures]:
        """Every case in every side that has time left."""
        tokenizer = Tokenizer.from_str(self.vocabulary.tokenizer_json)
        tallies = {side.name: Tally(side.name) for side in self.sides}
        spent = dict.fromkeys(tallies, 0.0)
        for index, case in enumerate(cases):
            question = Question(
                schema=case.schema,
                instances=[each.ids for each in tokenizer.encode_batch(list(case.instances))],
                eos_token_ids=self.vocabulary.eos_token_ids,
            )
            for side in self.sides:
                if spent[side.name] < self.seconds_of_side[side.name]:
                    began = time.monotonic()
                    tallies[side.name].add(case, await self._try(side, question))
                    spent[side.name] += time.monotonic() - began
            if (index + 1) % max(1, len(cases) // 10) == 0:
                progress.advance(_so_far(tallies))
        return [tally.figures() for tally in tallies.values()]

    async def _try(self, side: Side, question: Question) -> Trial:
        """Ours is checked in the compile pool first, and both compilations count."""
        if side.name != OURS:
            return await side.ask(question)
        start = time.perf_counter()
        try:
            await self.pool.check(GrammarSpec("json", question.schema))
        except GrammarError as error:
            return Trial(outcome=_outcome(str(error)), reason=str(error))
        check_ms = 1000 * (time.perf_counter() - start)
        trial = await side.ask(question)
        if trial.outcome == "refused":
            return Trial(outcome="crash", reason=f"refused after the check: {trial.reason}")
        trial.compile_ms += check_ms
        return trial


def _outcome(refusal: str) -> Outcome:
    """What the pool's refusal is about. A canary that died is a refusal, as it should be."""
    if "s to compile, the limit" in refusal:
        return "time"
    return "memory" if "MiB to compile, the limit" in refusal else "refused"


def _so_far(tallies: Mapping[str, Tally]) -> str:
    words = [
        f"{name} {tally.num_passing}/{tally.outcomes.total()}, {tally.accepted[False, True]} wrong"
        for name, tally in tallies.items()
    ]
    return "passing: " + "; ".join(words)
