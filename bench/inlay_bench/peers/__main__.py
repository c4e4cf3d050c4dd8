"""Runs the comparison: prepares what is missing, measures each model, prints and saves."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from inlay_bench.adapters.stream import Load
from inlay_bench.batch import BenchFailed
from inlay_bench.floor import MachineSpeed
from inlay_bench.machine import measured_apart
from inlay_bench.peers.contest import Contest, Tally
from inlay_bench.peers.engine_process import EngineProcess, start_engine
from inlay_bench.peers.environment import PeerUnavailable, python_of
from inlay_bench.peers.models import MODELS, Model, model_in_form
from inlay_bench.peers.options import PeerOptions, parse_options
from inlay_bench.peers.page import write_page
from inlay_bench.peers.recipe import RECIPES, Recipe
from inlay_bench.peers.results import ModelResult, PeersResult, model_result
from inlay_bench.peers.workload import Row, Words
from inlay_bench.saved import describe_machine, now, save


@dataclass(frozen=True)
class Candidate:
    """An engine that can be started on a model."""

    recipe: Recipe
    python: Path
    folder: Path


@dataclass(frozen=True)
class Measured:
    """What was found out about one model, before the machine's speed is known for sure."""

    model: Model
    rows: list[Row]
    tallies: dict[str, Tally]
    missing: dict[str, str]
    num_rounds: int

    def result(self, speed: MachineSpeed) -> ModelResult:
        """With the floors of a machine."""
        return model_result(
            self.model, self.rows, self.tallies, self.missing, self.num_rounds, speed
        )


@dataclass
class Run:
    """One run of the comparison."""

    options: PeerOptions
    began: float = field(default_factory=time.monotonic)

    def say(self, words: str) -> None:
        """A line of progress."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {words}", file=sys.stderr, flush=True)

    def prepare(self, model: Model) -> tuple[list[Candidate], dict[str, str]]:
        """Who can be measured on a model, and why the others cannot."""
        candidates, missing = [], {}
        for name in self.options.engines:
            recipe = RECIPES[name]
            try:
                candidates.append(self.prepare_engine(model, recipe))
            except PeerUnavailable as error:
                missing[name] = str(error)
                self.say(f"{name} is not measured on {model.name}: {error}")
        return candidates, missing

    def prepare_engine(self, model: Model, recipe: Recipe) -> Candidate:
        """Installs and converts what is missing. Raises PeerUnavailable."""
        if model.kind not in recipe.modules:
            raise PeerUnavailable(recipe.reasons[model.kind])
        self.say(f"preparing {recipe.name} for {model.name}")
        python = python_of(recipe, self.options.folder / "peers")
        return Candidate(recipe, python, model_in_form(model, recipe.form, self.options.folder))

    async def prepare_all(self) -> None:
        """Everything that is done once: engines that compile when they load keep what they made."""
        for name in self.options.models:
            candidates, _missing = self.prepare(MODELS[name])
            for candidate in candidates:
                async with AsyncExitStack() as stack:
                    await self.load(stack, MODELS[name], candidate, {})

    async def measure(self) -> PeersResult:
        """The whole comparison. Raises BenchFailed."""
        prepared = {name: self.prepare(MODELS[name]) for name in self.options.models}
        began = time.monotonic()
        speeds = [self.speed()]
        measured = []
        for name, (candidates, missing) in prepared.items():
            measured.append(await self.measure_model(MODELS[name], candidates, missing))
            speeds.append(self.speed())
        speed = best_speed(speeds)
        return PeersResult(
            when=now(),
            machine=describe_machine(),
            num_threads=self.options.num_threads,
            dtype=self.options.dtype,
            num_context_tokens=self.options.num_context_tokens,
            bytes_per_second=speed.bytes_per_second,
            flops_per_second=speed.flops_per_second,
            versions={name: RECIPES[name].version for name in self.options.engines},
            seconds=time.monotonic() - began,
            models=[each.result(speed) for each in measured],
        )

    def speed(self) -> MachineSpeed:
        """Of the machine now."""
        return measured_apart(self.options.dtype, self.options.num_threads)

    async def measure_model(
        self,
        model: Model,
        candidates: list[Candidate],
        missing: dict[str, str],
    ) -> Measured:
        """Every engine on one model, all loaded at a time. Raises BenchFailed."""
        deadline = time.monotonic() + self.options.seconds(model.name)
        rows = self.options.rows(model.kind)
        async with AsyncExitStack() as stack:
            loaded = [await self.load(stack, model, candidate, missing) for candidate in candidates]
            engines = [engine for engine in loaded if engine is not None]
            words = words_of(model, self.options)
            contest = Contest(engines=engines, rows=rows, words=words, say=self.say)
            num_rounds = await contest.run(deadline - time.monotonic(), self.options.max_rounds)
        return Measured(model, rows, contest.tallies, missing, num_rounds)

    async def load(
        self, stack: AsyncExitStack, model: Model, candidate: Candidate, missing: dict[str, str]
    ) -> EngineProcess | None:
        """One loaded engine, or None and an entry in `missing`."""
        self.say(f"{model.name}: loading {candidate.recipe.name}")
        try:
            return await stack.enter_async_context(self.starting(model, candidate))
        except BenchFailed as error:
            missing[candidate.recipe.name] = str(error)
            self.say(f"{candidate.recipe.name} could not be loaded: {error}")
            return None

    def starting(
        self, model: Model, candidate: Candidate
    ) -> AbstractAsyncContextManager[EngineProcess]:
        """The context of one engine on one model."""
        logs = self.options.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        load = Load(
            folder=candidate.folder,
            dtype=self.options.dtype,
            num_threads=self.options.num_threads,
            num_streams=max(self.options.stream_counts),
            num_cache_tokens=self.options.num_cache_tokens,
            has_images=model.kind == "image",
        )
        log = logs / f"{candidate.recipe.name}-{model.name}.log"
        return start_engine(candidate.recipe, model.kind, candidate.python, load, log)


def best_speed(speeds: Sequence[MachineSpeed]) -> MachineSpeed:
    """The machine at its best: what slowed one measurement of it was not the machine."""
    return MachineSpeed(
        bytes_per_second=max(speed.bytes_per_second for speed in speeds),
        flops_per_second=max(speed.flops_per_second for speed in speeds),
    )


def words_of(model: Model, options: PeerOptions) -> Words:
    """Writes prompts in the model's vocabulary."""
    folder = model_in_form(model, "safetensors", options.folder)
    return Words(Tokenizer.from_file(str(folder / "tokenizer.json")))


def hold_to_cores(num_cores: int) -> None:
    """This process and every one that it starts runs on the first so many cores that it may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])


def main() -> int:
    """The exit code: 1 when the comparison as a whole failed."""
    options = parse_options()
    hold_to_cores(options.num_threads)
    # As Ctrl-C: engines that are held still would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.is_only_prepared:
            asyncio.run(Run(options).prepare_all())
            return 0
        result = asyncio.run(Run(options).measure())
    except (BenchFailed, PeerUnavailable) as error:
        print(f"the bench failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(write_page(result))
    print(f"figures: {save(result, 'peers', options.folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
