"""Rounds on one model: every row, every engine in turn, as long as there is time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from inlay_bench.adapters.stream import Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.peers.engine_process import EngineProcess
from inlay_bench.peers.workload import Row, Words, batches, figure

NUM_WARM_UP_TOKENS = 4

Say = Callable[[str], None]


@dataclass
class Tally:
    """What an engine reached on one model."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    """By row, one a round."""
    first_tokens: list[int] = field(default_factory=list)
    """First token of each stream of the text rows, in order."""
    failure: str = ""
    """Why it was left out from some moment on."""
    peak_bytes: int = 0


@dataclass(kw_only=True)
class Contest:
    """Engines that hold the same model in the same type."""

    engines: Sequence[EngineProcess]
    rows: Sequence[Row]
    words: Words
    say: Say
    clock: Callable[[], float] = time.monotonic
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By name of engine."""

    async def run(self, seconds: float, max_rounds: int) -> int:
        """Warm up, then rounds until the next one would not end in time; how many were run.

        The first round is run whatever the time.
        """
        start = self.clock()
        self.tallies = {engine.recipe.name: Tally() for engine in self.engines}
        await self._warm_up()
        num_rounds, longest = 0, 0.0
        while num_rounds < max_rounds:
            began = self.clock()
            if num_rounds and began - start + longest > seconds:
                break
            await self._round(num_rounds)
            num_rounds += 1
            longest = max(longest, self.clock() - began)
        for engine in self.engines:
            self.tallies[engine.recipe.name].peak_bytes = engine.peak_bytes()
        return num_rounds

    async def _warm_up(self) -> None:
        """A cheap row of each measure, unmeasured: what is compiled at first use is there."""
        for row in warm_up_rows(self.rows):
            for engine in self._present():
                await self._ask(engine, row, f"warm-up, {row}")
        self.say("warmed up")

    async def _round(self, index: int) -> None:
        """Who comes first moves on by one with each row and round."""
        for place, row in enumerate(self.rows):
            engines = self._present()
            if not engines:
                return
            first = (index + place) % len(engines)
            reached = []
            for engine in engines[first:] + engines[:first]:
                streams = await self._ask(engine, row, f"round {index}, {row}")
                reached.append(self._note(engine, row, streams))
            self.say(f"round {index + 1}, {row}: {', '.join(filter(None, reached))} {row.unit}")

    async def _ask(self, engine: EngineProcess, row: Row, seed: str) -> list[Stream]:
        """Its answers to the last batch; none when it failed, from when on it is left out."""
        streams: list[Stream] = []
        try:
            for prompts in batches(row, self.words, seed):
                streams = await engine.generate(prompts, row.num_new_tokens)
        except BenchFailed as error:
            self._fail(engine, error)
            return []
        return streams

    def _note(self, engine: EngineProcess, row: Row, streams: list[Stream]) -> str:
        """Keep a figure; the words for it."""
        if not streams:
            return ""
        try:
            value = figure(row, streams)
        except BenchFailed as error:
            self._fail(engine, error)
            return ""
        tally = self.tallies[engine.recipe.name]
        tally.figures.setdefault(str(row), []).append(value)
        if row.kind == "text":
            tally.first_tokens += [stream.token_ids[0] for stream in streams]
        return f"{engine.recipe.name} {value:.3g}"

    def _fail(self, engine: EngineProcess, error: BenchFailed) -> None:
        self.tallies[engine.recipe.name].failure = str(error)
        self.say(f"{engine.recipe.name} is left out: {error}")

    def _present(self) -> list[EngineProcess]:
        return [each for each in self.engines if not self.tallies[each.recipe.name].failure]


def warm_up_rows(rows: Sequence[Row]) -> list[Row]:
    """The first row of each measure; of decode the widest, with few tokens."""
    first = {row.measure: row for row in reversed(rows)}
    widest = {row.measure: row for row in rows}
    if "decode" in widest:
        few = NUM_WARM_UP_TOKENS
        first["decode"] = replace(widest["decode"], num_prompt_tokens=few, num_new_tokens=few)
    return list(first.values())
