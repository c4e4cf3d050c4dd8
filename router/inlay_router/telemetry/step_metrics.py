"""What `/metrics` shows of steps, under the names that TGI gave to its batches.

A step that computes a prompt, or a part of one, counts as `prefill`, also when others decode in it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector

from inlay_proto import generate_pb2 as pb
from inlay_router.telemetry.step_times import NUM_UNCOUNTED_MAX

_SECONDS = tuple(0.00015 * 1.5**power for power in range(1, 36))
_SIZES = tuple(float(1 << power) for power in range(11))
_NANOSECONDS = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class _Method:
    """The series of one method, looked up once."""

    count: Counter
    success: Counter
    failure: Counter
    inference: Histogram
    forward: Histogram
    decode: Histogram


class StepMetrics(Collector):
    """A StepObserver that counts and measures, a few results at a time (see StepTimes)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        registry.register(self)  # before what it counts with, which is asked after it
        count = self._counter("tgi_batch_inference_count", "Steps sent", "method")
        success = self._counter("tgi_batch_inference_success", "Steps that came back", "method")
        failure = self._counter("tgi_batch_inference_failure", "Steps that were lost", "method")
        inference = self._seconds("tgi_batch_inference_duration", "All that a step computes")
        forward = self._seconds("tgi_batch_forward_duration", "The model in a step")
        decode = self._seconds("tgi_batch_decode_duration", "Masks and choices in a step")
        self._prefill, self._decode = (
            _Method(
                count=count.labels(method),
                success=success.labels(method),
                failure=failure.labels(method),
                inference=inference.labels(method),
                forward=forward.labels(method),
                decode=decode.labels(method),
            )
            for method in ("prefill", "decode")
        )
        # Sequences leave and join within a step, so these two stay empty.
        self._seconds("tgi_batch_filter_duration", "Taking sequences out of a batch")
        self._seconds("tgi_batch_concat_duration", "Putting batches together")
        concat = self._counter("tgi_batch_concat", "Sequences joined running ones", "reason")
        self._chunking = concat.labels("chunking")
        self._joined = Histogram(
            "tgi_batch_next_size",
            "Sequences that joined in one step",
            buckets=_SIZES,
            registry=registry,
        )
        self._in_flight: deque[_Method] = deque()
        self._uncounted: list[tuple[_Method, pb.StepTimings]] = []

    def sent(self, step: pb.Step) -> None:
        """A step goes to the replica."""
        method = self._method(step)
        self._in_flight.append(method)
        method.count.inc()
        if step.joining:
            self._joined.observe(len(step.joining))
            if len(step.rows.sequence_ids) > len(step.joining):
                self._chunking.inc()

    def settled(self, result: pb.StepResult) -> None:
        """The result of the oldest step in flight came back."""
        self._uncounted.append((self._in_flight.popleft(), result.timings))
        if len(self._uncounted) == NUM_UNCOUNTED_MAX:
            self._count_all()

    def collect(self) -> Iterable[Metric]:
        """Nothing of its own: what others show is complete now."""
        self._count_all()
        return ()

    def _count_all(self) -> None:
        for method, timings in self._uncounted:
            choosing = timings.mask + timings.sample
            method.success.inc()
            method.forward.observe(timings.forward / _NANOSECONDS)
            method.decode.observe(choosing / _NANOSECONDS)
            method.inference.observe((timings.forward + choosing) / _NANOSECONDS)
        self._uncounted.clear()

    def lost(self) -> None:
        """What is in flight will not come back."""
        for method in self._in_flight:
            method.failure.inc()
        self._in_flight.clear()

    def _method(self, step: pb.Step) -> _Method:
        if not step.HasField("rows"):  # those of the step before, which decoded
            return self._decode
        is_prefill = any(number > 1 for number in step.rows.num_tokens)
        return self._prefill if is_prefill else self._decode

    def _counter(self, name: str, words: str, label: str) -> Counter:
        return Counter(name, words, [label], registry=self._registry)

    def _seconds(self, name: str, words: str) -> Histogram:
        words = f"{words}, in seconds"
        return Histogram(name, words, ["method"], buckets=_SECONDS, registry=self._registry)
