"""What a run found out, as it is saved: medians, spread, floors, and who was left out."""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from inlay_bench.floor import MachineSpeed
from inlay_bench.peers.contest import Tally
from inlay_bench.peers.floors import floor
from inlay_bench.peers.models import Model
from inlay_bench.peers.recipe import OURS, RECIPES
from inlay_bench.peers.workload import Row

REFERENCE = "transformers"
"""Whose first tokens the others' are held against."""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """One engine in one row, over the rounds."""

    median: float
    low: float
    high: float
    num_rounds: int


class RowResult(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    name: str
    measure: str
    num_prompts: int
    num_prompt_tokens: int
    unit: str
    floor: float | None
    """The best that the machine allows: its bytes and multiplications, measured in this run."""
    engines: dict[str, Reached]

    @property
    def is_more_better(self) -> bool:
        """Whether the largest figure is the best."""
        return self.unit != "ms"

    def best_peer(self) -> tuple[str, float] | None:
        """Name and median of the best engine that is not ours."""
        peers = [(name, each.median) for name, each in self.engines.items() if name not in OURS]
        if not peers:
            return None
        return (max if self.is_more_better else min)(peers, key=lambda peer: peer[1])

    def lead(self, name: str) -> float | None:
        """How many times better an engine is than the best peer."""
        best = self.best_peer()
        if best is None or name not in self.engines:
            return None
        ours = self.engines[name].median
        return ours / best[1] if self.is_more_better else best[1] / ours


class EngineResult(msgspec.Struct, frozen=True, kw_only=True):
    """One engine on one model, beside its rows."""

    settings: str
    peak_bytes: int = 0
    num_equal: int = 0
    """First tokens that are the same as those of `transformers`."""
    num_compared: int = 0
    failure: str = ""
    """Why it has no figures, or not all."""


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """One model."""

    name: str
    title: str
    num_rounds: int
    rows: list[RowResult]
    engines: dict[str, EngineResult]


class PeersResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    num_threads: int
    dtype: str
    num_context_tokens: int
    bytes_per_second: float
    flops_per_second: float
    versions: dict[str, str]
    """What was installed, by engine."""
    seconds: float
    """Of loading and measuring."""
    models: list[ModelResult]


def model_result(
    model: Model,
    rows: Sequence[Row],
    tallies: Mapping[str, Tally],
    missing: Mapping[str, str],
    num_rounds: int,
    speed: MachineSpeed,
) -> ModelResult:
    """The result of one model; `missing` says why engines could not even begin."""
    return ModelResult(
        name=model.name,
        title=model.title,
        num_rounds=num_rounds,
        rows=[row_result(model, row, tallies, speed) for row in rows],
        engines={
            **{name: engine_result(name, tallies) for name in tallies},
            **{
                name: EngineResult(settings=RECIPES[name].settings, failure=reason)
                for name, reason in missing.items()
            },
        },
    )


def row_result(
    model: Model, row: Row, tallies: Mapping[str, Tally], speed: MachineSpeed
) -> RowResult:
    """One row over all engines that have a figure in it."""
    return RowResult(
        name=str(row),
        measure=row.measure,
        num_prompts=row.num_prompts,
        num_prompt_tokens=row.num_prompt_tokens,
        unit=row.unit,
        floor=floor(model, row, speed),
        engines={
            name: reached(values)
            for name, tally in tallies.items()
            if (values := tally.figures.get(str(row)))
        },
    )


def reached(values: Sequence[float]) -> Reached:
    """Of at least one round."""
    return Reached(median=median(values), low=min(values), high=max(values), num_rounds=len(values))


def engine_result(name: str, tallies: Mapping[str, Tally]) -> EngineResult:
    """One engine that was started."""
    tally = tallies[name]
    reference = tallies.get(REFERENCE, Tally()).first_tokens
    pairs = list(zip(tally.first_tokens, reference, strict=False))
    return EngineResult(
        settings=RECIPES[name].settings,
        peak_bytes=tally.peak_bytes,
        num_equal=sum(ours == theirs for ours, theirs in pairs),
        num_compared=len(pairs),
        failure=tally.failure,
    )
