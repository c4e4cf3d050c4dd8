"""How much the batcher takes on at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """How much one step and the queue may hold; the size of the KV pool comes from the shard."""

    max_batch_prefill_tokens: int | None = None
    """Prompt tokens that one step computes at most; longer prompts are cut into chunks, and beside
    running streams into smaller ones. None for what suits the device."""
    max_batch_size: int = 128
    """Sequences that run at a time."""
    max_steps_in_flight: int = 2
    """Steps sent before a result is back; 2 keeps the device busy while the router works."""
    max_waiting: int = 256
    """Sequences that wait to run; one more is refused with Overloaded."""
    max_waiting_tokens: int | None = None
    """Tokens of the prompts that wait; a prompt that would make them more is refused too, unless
    nobody waits. None for no such limit."""
    has_prefix_cache: bool = True
    """Whether blocks are found again by content, and not computed twice."""
    is_paced: bool = True
    """Whether prefill gives way to running streams, for readers who wait for their next token.
    Without it each step computes all the prompt tokens that it may, and a batch is done sooner."""
