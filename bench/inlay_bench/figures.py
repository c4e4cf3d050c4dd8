"""The figures of one case: medians, spread, and ratios taken round by round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from inlay_bench.batch import Batch, count_equal
from inlay_bench.floor import MachineSpeed
from inlay_bench.prompts import Kind


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured together."""

    dtype: str
    kind: Kind
    num_streams: int

    def __str__(self) -> str:
        plural = "" if self.num_streams == 1 else "s"
        return f"{self.dtype}, {self.kind}, {self.num_streams} stream{plural}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One quantity over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same quantity on both sides."""

    inlay: Figure
    generate: Figure
    ratio: Figure
    """How many times better inlay is, taken within each round; below 1, `generate` is."""


@dataclass(frozen=True, kw_only=True)
class CaseFigures:
    """Everything that the table says about one case."""

    case: Case
    tokens_per_second: Pair
    first_token_milliseconds: Pair
    token_milliseconds: Pair
    """Between two tokens of a stream."""
    read_floor_milliseconds: float
    """No step is shorter: the weights are read once."""
    multiply_floor_milliseconds: float
    """Nor shorter than its multiplications."""
    client_share: float
    """CPU time of the load client over the time of inlay's rounds, in cores."""
    num_equal: int
    """Streams of the measured rounds that brought the same tokens and text on both sides."""
    num_compared: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """Both sides on the same prompts, one after the other."""

    inlay: Batch
    generate: Batch
    client_seconds: float
    """CPU time of the load client."""


def summarize(
    case: Case, rounds: Sequence[Round], speed: MachineSpeed, num_weights: int, weight_bytes: int
) -> CaseFigures:
    """The figures of at least one round; `num_weights` are those that one decode step reads."""
    ours = [each.inlay for each in rounds]
    theirs = [each.generate for each in rounds]
    client_seconds = sum(each.client_seconds for each in rounds)
    return CaseFigures(
        case=case,
        tokens_per_second=more_is_better(
            [batch.tokens_per_second for batch in ours],
            [batch.tokens_per_second for batch in theirs],
        ),
        first_token_milliseconds=less_is_better(
            [batch.first_token_milliseconds for batch in ours],
            [batch.first_token_milliseconds for batch in theirs],
        ),
        token_milliseconds=less_is_better(
            [batch.token_milliseconds for batch in ours],
            [batch.token_milliseconds for batch in theirs],
        ),
        read_floor_milliseconds=speed.read_milliseconds(num_weights, weight_bytes),
        multiply_floor_milliseconds=speed.multiply_milliseconds(num_weights, case.num_streams),
        client_share=client_seconds / sum(batch.seconds for batch in ours),
        num_equal=sum(count_equal(each.inlay, each.generate) for each in rounds),
        num_compared=len(rounds) * case.num_streams,
    )


def more_is_better(ours: Sequence[float], theirs: Sequence[float]) -> Pair:
    """A rate: the ratio is ours over theirs."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return Pair(inlay=figure(ours), generate=figure(theirs), ratio=figure(ratios))


def less_is_better(ours: Sequence[float], theirs: Sequence[float]) -> Pair:
    """A time: the ratio is theirs over ours."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return Pair(inlay=figure(ours), generate=figure(theirs), ratio=figure(ratios))


def figure(values: Sequence[float]) -> Figure:
    """Median, lowest and highest of at least one value."""
    return Figure(median=median(values), low=min(values), high=max(values))
