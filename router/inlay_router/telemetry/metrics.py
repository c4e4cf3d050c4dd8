"""What `/metrics` shows: TGI's names where TGI has one, `inlay_` names for the rest."""

import re

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
)

from inlay_router.batching.generation import Generation
from inlay_router.telemetry.engine_metrics import EngineMetrics
from inlay_router.telemetry.step_metrics import StepMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = tuple(0.00015 * 1.5**power for power in range(1, 36))
_NUM_LINEAR_BUCKETS = 100
_TOTAL = re.compile(rb"^((?:# (?:HELP|TYPE) )?(?:tgi|inlay)_\w+)_total\b", re.MULTILINE)
"""Where the client library named a counter its own way."""


class Metrics:
    """The counters and histograms of one router; each has its own registry."""

    def __init__(self, max_total_tokens: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.count = self._counter("tgi_request_count", "Requests received")
        self.success = self._counter("tgi_request_success", "Requests answered")
        self.failure = self._counter("tgi_request_failure", "Requests that failed", "err")
        self.duration = self._seconds("tgi_request_duration", "From receipt to the last byte")
        self.validation = self._seconds(
            "tgi_request_validation_duration", "From receipt to the queue, images included"
        )
        self.grammar = self._seconds(
            "inlay_grammar_check_duration", "Compiling a grammar, or finding it compiled"
        )
        self.queue = self._seconds("tgi_request_queue_duration", "From the queue to the first step")
        self.inference = self._seconds(
            "tgi_request_inference_duration", "From the first step to the end"
        )
        self.time_per_token = self._seconds(
            "tgi_request_mean_time_per_token_duration", "Inference time by generated tokens"
        )
        self.first_token = self._seconds(
            "inlay_request_first_token_duration", "From receipt to the first token of a stream"
        )
        self.skipped_tokens = Summary(
            "tgi_request_skipped_tokens",
            "Tokens that a request got beyond one a step",
            registry=self.registry,
        )
        self.input_length = self._tokens(
            "tgi_request_input_length", "Tokens of a prompt, images included", max_total_tokens
        )
        self.max_new_tokens = self._tokens(
            "tgi_request_max_new_tokens", "Tokens that an answer may have", max_total_tokens
        )
        self.generated_tokens = self._tokens(
            "tgi_request_generated_tokens", "Tokens of an answer", max_total_tokens
        )

    def watch(self, generation: Generation) -> None:
        """Show the engine's own counts, read whenever the page is, and measure its steps."""
        generation.observer = StepMetrics(self.registry)
        block_size = generation.facts.block_size
        self.registry.register(EngineMetrics(lambda: generation.stats, block_size))
        self.registry.register(generation.step_times)

    def page(self) -> bytes:
        """Everything in Prometheus' text format.

        The client library appends `_total` to counters, which TGI's dashboards do not expect; ours
        are called as TGI's.
        """
        page = generate_latest(self.registry)
        return _TOTAL.sub(rb"\1", page)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self.registry)

    def _seconds(self, name: str, words: str) -> Histogram:
        return Histogram(name, f"{words}, in seconds", buckets=_SECONDS, registry=self.registry)

    def _tokens(self, name: str, words: str, max_tokens: int) -> Histogram:
        width = max_tokens / _NUM_LINEAR_BUCKETS
        buckets = tuple(width * count for count in range(1, _NUM_LINEAR_BUCKETS + 1))
        return Histogram(name, words, buckets=buckets, registry=self.registry)
