"""How much the batcher takes on at a time."""

from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.request import GenerationRequest

MAX_FORCED_TOKENS = 8
"""A row of so many tokens takes hardly longer than one of a single token."""


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
    max_forced_tokens: int = MAX_FORCED_TOKENS
    """Tokens forced by a grammar that a row computes beside its own; 0 for none."""
    has_prefix_cache: bool = True
    """Whether blocks are found again by content, and not computed twice."""
    min_awaited_tokens: int | None = None
    """Tokens that a prompt must share with one under way, and that are still to be computed, for it
    to wait until it finds them. None for what pays, by the device and what steps take."""
    is_paced: bool = True
    """Whether prefill gives way to running streams, for readers who wait for their next token.
    Without it each step computes all the prompt tokens that it may, and a batch is done sooner."""

    def forcing_of(self, request: GenerationRequest) -> pb.Forcing | None:
        """How rows of a request go on by forced tokens: so that each step behind one, sent before
        it was known how long that one is, finds a slot. None if they do not."""
        if request.grammar is None or request.wants_logits or not self.max_forced_tokens:
            return None
        num_behind = self.max_steps_in_flight - 1
        return pb.Forcing(max_tokens=self.max_forced_tokens, num_spare_slots=num_behind)
