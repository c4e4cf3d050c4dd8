"""Adds up what became of many schemas in one backend."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from inlay_bench.grammars.cases import Case
from inlay_bench.grammars.trial import Trial
from inlay_bench.serving.quantiles import quantile

SHARES = tuple(place / 1000 for place in (*range(0, 1000, 10), 995, 999, 1000))
"""Quantiles that are kept of times."""
MAX_NAMES = 40
MAX_REASON = 60


class SideFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One backend over one collection."""

    side: str
    num_schemas: int
    outcomes: dict[str, int]
    """held, refused, time, memory, crash."""
    reasons: dict[str, int]
    """Of those that were not held, the most frequent first."""
    num_passing: int
    """Schemas that were held and all of whose instances were told right."""
    num_valid: int
    num_valid_accepted: int
    num_invalid: int
    num_invalid_accepted: int
    """Instances count only where the schema was held."""
    num_under: int
    """Schemas that let something invalid pass."""
    under: list[str]
    """Names of some of these."""
    over: list[str]
    """Names of some schemas that refuse something valid."""
    compile_ms: list[float]
    """At `SHARES`."""
    mask_us: list[float]
    """At `SHARES`, of all masks of all instances."""
    num_masks: int


@dataclass
class Tally:
    """What is known so far."""

    side: str
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    num_passing: int = 0
    accepted: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """By whether an instance is valid, and whether it was accepted."""
    under: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    compile_ms: list[float] = field(default_factory=list)
    mask_us: list[float] = field(default_factory=list)

    def add(self, case: Case, trial: Trial) -> None:
        """One more schema."""
        self.outcomes[trial.outcome] += 1
        if trial.outcome != "held":
            self.reasons[kind_of(trial.reason)] += 1
            return
        pairs = list(zip(case.are_valid, trial.accepted, strict=True))
        self.accepted.update(pairs)
        self.compile_ms.append(trial.compile_ms)
        self.mask_us += trial.mask_us
        self.num_passing += all(is_valid == accepted for is_valid, accepted in pairs)
        if (False, True) in pairs:
            self.under.append(case.name)
        if (True, False) in pairs:
            self.over.append(case.name)

    def figures(self) -> SideFigures:
        """All of it."""
        count = self.accepted
        return SideFigures(
            side=self.side,
            num_schemas=self.outcomes.total(),
            outcomes=dict(self.outcomes),
            reasons=dict(self.reasons.most_common(MAX_NAMES)),
            num_passing=self.num_passing,
            num_valid=count[True, True] + count[True, False],
            num_valid_accepted=count[True, True],
            num_invalid=count[False, True] + count[False, False],
            num_invalid_accepted=count[False, True],
            num_under=len(self.under),
            under=self.under[:MAX_NAMES],
            over=self.over[:MAX_NAMES],
            compile_ms=curve(self.compile_ms),
            mask_us=curve(self.mask_us),
            num_masks=len(self.mask_us),
        )


def curve(values: Sequence[float]) -> list[float]:
    """The values at `SHARES`; nothing of nothing."""
    ordered = sorted(values)
    return [round(quantile(ordered, share), 3) for share in SHARES] if ordered else []


def at(values: Sequence[float], share: float) -> float:
    """One of a curve's quantiles; not a number if there is none."""
    return values[SHARES.index(share)] if values else float("nan")


def kind_of(reason: str) -> str:
    """A reason without what is particular to one schema."""
    if keyword := re.search(r"`([^`/]+)`|keys: \[\"([^\"]+)\"|format: ([\w-]+)", reason):
        return str(next(filter(None, keyword.groups())))
    words = re.sub(r"[\d{\"\[].*", "…", reason.strip().replace("\n", " "))
    return words[:MAX_REASON] or "no reason given"
