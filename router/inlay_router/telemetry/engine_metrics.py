"""What `/metrics` shows of the engine's own counts, read whenever the page is."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from inlay_router.telemetry.stats import Stats

_LEVELS = {
    "tgi_queue_size": ("Sequences that wait", "num_waiting"),
    "tgi_batch_current_size": ("Sequences that run", "num_running"),
    "inlay_kv_blocks": ("Blocks of the KV pool", "num_blocks"),
    "inlay_kv_blocks_used": ("Blocks of the KV pool that sequences own", "num_blocks_used"),
    "inlay_kv_blocks_idle": (
        "Blocks of the KV pool that nobody owns and whose content can still be found",
        "num_blocks_idle",
    ),
}
"""What rises and falls: its name, its words, and the field of Stats."""

_LEVELS_IN_TOKENS = {
    "tgi_batch_current_max_tokens": ("Tokens that the blocks in use hold", "num_blocks_used"),
    "tgi_batch_max_total_tokens": ("Tokens that the KV pool holds", "num_blocks"),
}
"""The same for fields that count blocks."""

_COUNTS = {
    "inlay_prompt_tokens": ("Tokens of prompts that began to run", "num_prompt_tokens"),
    "inlay_cached_prompt_tokens": (
        "Tokens of prompts that were found in the prefix cache",
        "num_cached_tokens",
    ),
    "inlay_steps": ("Steps sent", "num_steps"),
    "inlay_generated_tokens": ("Tokens of answers", "num_tokens"),
    "inlay_forced_tokens": (
        "Tokens of answers that a grammar forced and that took no step of their own",
        "num_forced_tokens",
    ),
    "inlay_preemptions": ("Times that a sequence gave its blocks to another", "num_preemptions"),
    "inlay_reconnects": ("Times that the replica was lost and came back", "num_reconnects"),
}
"""What never falls while the router lives."""


class EngineMetrics(Collector):
    """Gauges for levels, counters for what never falls, so that rates of these can be drawn."""

    def __init__(self, read: Callable[[], Stats], block_size: int) -> None:
        self._read = read
        self._block_size = block_size

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All of one moment."""
        stats = self._read()
        for name, (words, field) in _LEVELS.items():
            yield GaugeMetricFamily(name, words, value=getattr(stats, field))
        for name, (words, field) in _LEVELS_IN_TOKENS.items():
            num_tokens = getattr(stats, field) * self._block_size
            yield GaugeMetricFamily(name, words, value=num_tokens)
        for name, (words, field) in _COUNTS.items():
            yield CounterMetricFamily(name, words, value=getattr(stats, field))
