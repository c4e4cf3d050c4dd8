"""Where steps spend their time: one histogram for each part, cheap enough for every step."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from inlay_proto import generate_pb2 as pb

BOUNDS: Final = tuple(round(0.00001 * 1.5**power, 7) for power in range(36))
"""Upper bounds of the buckets, in seconds: 10 µs to 15 s."""

_PARTS: Final = {
    "schedule": "Deciding what a step computes, and taking it in",
    "transfer": "Laying the batch out and moving it to the device",
    "forward": "The model",
    "mask": "Waiting for grammar masks behind the model",
    "sample": "Choosing tokens",
    "deliver": "Judging what was chosen, settling it and handing it to the streams",
}
"""Parts of a step in order, and what they are."""
_BESIDE: Final = {
    "fill": "Filling grammar masks beside the model, of which a step waits for `mask`",
    "encode": "Embedding images beside the steps, from one result to the next",
}
"""What shards do meanwhile on other threads, and what it is."""

NUM_UNCOUNTED_MAX: Final = 16
"""Steps that are noted before they are counted, unless somebody looks before."""

Seconds: TypeAlias = float


@dataclass(slots=True)
class _Histogram:
    num_observed: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """In each bucket, not in those below it too."""
    total: Seconds = 0.0

    def observe(self, seconds: Seconds) -> None:
        self.num_observed[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def family(self, name: str, words: str) -> HistogramMetricFamily:
        buckets, num_below = [], 0
        for bound, count in zip((*BOUNDS, float("inf")), self.num_observed, strict=True):
            num_below += count
            buckets.append((_written(bound), num_below))
        return HistogramMetricFamily(name, words, buckets=buckets, sum_value=self.total)


def _written(bound: Seconds) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


class StepTimes(Collector):
    """Counts the time of every part of every step, the router's and the shard's together.

    `prometheus_client`'s own histograms take 2 µs an observation, this one 0.2; and a few steps are
    counted at a time, as code that has just run is twice as fast.
    """

    def __init__(self) -> None:
        self._parts = {part: _Histogram() for part in _PARTS}
        self._steps = _Histogram()
        self._beside = {name: _Histogram() for name in _BESIDE}
        self._scheduling: deque[Seconds] = deque()  # of steps in flight, the oldest first
        self._uncounted: list[tuple[pb.StepTimings, Seconds, Seconds]] = []

    def reset(self) -> None:
        """What is in flight will have no result."""
        self._scheduling.clear()

    def scheduled(self, seconds: Seconds) -> None:
        """A step was decided by the router, which took so long."""
        self._scheduling.append(seconds)

    def delivered(self, timings: pb.StepTimings, deliver: Seconds) -> None:
        """The result of the oldest step in flight says where a shard spent its time; the router
        took `deliver` to settle it and to hand it to the streams."""
        schedule = self._scheduling.popleft() if self._scheduling else 0.0
        self._uncounted.append((timings, schedule, deliver))
        if len(self._uncounted) == NUM_UNCOUNTED_MAX:
            self._count_all()

    def _count_all(self) -> None:
        for timings, schedule, deliver in self._uncounted:
            self._count(timings, schedule, deliver)
        self._uncounted.clear()

    def _count(self, timings: pb.StepTimings, schedule: Seconds, deliver: Seconds) -> None:
        whole = 0.0
        for part, histogram in self._parts.items():
            seconds = getattr(timings, part) * 1e-9
            if part == "schedule":
                seconds += schedule
            elif part == "deliver":
                seconds += deliver
            whole += seconds
            histogram.observe(seconds)
        self._steps.observe(whole)
        for name, histogram in self._beside.items():
            histogram.observe(getattr(timings, name) * 1e-9)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the metrics page shows."""
        self._count_all()
        yield self._steps.family("inlay_step_duration", "All parts of a step, in seconds")
        for part, histogram in self._parts.items():
            yield histogram.family(f"inlay_step_{part}_duration", f"{_PARTS[part]}, in seconds")
        for name, histogram in self._beside.items():
            yield histogram.family(f"inlay_step_{name}_duration", f"{_BESIDE[name]}, in seconds")
