"""What the metrics page shows of the engine."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """A snapshot; the counters from `num_steps` on never fall."""

    num_waiting: int
    """Sequences in the queue."""
    num_running: int
    """Sequences that take part in steps."""
    num_blocks: int
    """Blocks of the KV pool."""
    num_blocks_used: int
    """Blocks that sequences own."""
    num_steps: int
    """Steps sent."""
    num_tokens: int
    """Tokens of answers."""
    num_preemptions: int
    """Times that a sequence gave its blocks to another."""
    num_reconnects: int
    """Times that the replica was lost and came back."""
