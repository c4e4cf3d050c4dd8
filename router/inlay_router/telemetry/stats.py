"""What the metrics page shows of the engine."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class Counters:
    """What the batcher has done since it was made; nothing here ever falls."""

    num_steps: int = 0
    """Steps sent."""
    num_tokens: int = 0
    """Tokens of answers."""
    num_forced_tokens: int = 0
    """Of those, tokens that a grammar forced and that took no step of their own."""
    num_preemptions: int = 0
    """Times that a sequence gave its blocks to another."""
    num_prompt_tokens: int = 0
    """Tokens of the prompts of sequences that joined, each sequence counted once."""
    num_cached_tokens: int = 0
    """Of those, tokens found in the prefix cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """A snapshot; the counters from `num_steps` on never fall."""

    num_waiting: int
    """Sequences in the queue, or behind it until what they begin with is computed."""
    num_running: int
    """Sequences that take part in steps."""
    num_blocks: int
    """Blocks of the KV pool."""
    num_blocks_used: int
    """Blocks that sequences own."""
    num_blocks_idle: int
    """Blocks that nobody owns and whose content can still be found."""
    num_steps: int
    """Steps sent."""
    num_tokens: int
    """Tokens of answers."""
    num_forced_tokens: int
    """Of those, tokens that a grammar forced and that took no step of their own."""
    num_preemptions: int
    """Times that a sequence gave its blocks to another."""
    num_prompt_tokens: int
    """Tokens of prompts that began to run."""
    num_cached_tokens: int
    """Of those, tokens found in the prefix cache."""
    num_reconnects: int
    """Times that the replica was lost and came back."""
