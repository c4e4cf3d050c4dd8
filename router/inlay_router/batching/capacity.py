"""What a replica can hold: whether a sequence could run to its end, and the limits in words."""

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.sequence import Sequence
from inlay_router.errors import ValidationError


def can_ever_run(sequence: Sequence, pool: BlockPool) -> bool:
    """Whether the pool holds it when its answer is as long as it may get.

    The last token of an answer is never computed.
    """
    return pool.num_blocks_for(sequence.num_tokens_max - 1) <= pool.num_blocks


def check_can_ever_run(sequence: Sequence, pool: BlockPool) -> None:
    """Raises ValidationError unless `can_ever_run`."""
    if not can_ever_run(sequence, pool):
        request = sequence.request
        raise ValidationError(
            f"`inputs` tokens + `{request.budget_name}` must be <="
            f" {pool.num_blocks * pool.block_size + 1}."
            f" Given: {sequence.num_prompt_tokens} `inputs` tokens and"
            f" {request.max_new_tokens} `{request.budget_name}`"
        )


def in_words(facts: pb.ModelFacts, *, max_total_tokens: int, max_prefill_tokens: int) -> str:
    """What the operator gets to know at start-up, with TGI's names for the limits."""
    words = (
        f"KV cache: {facts.num_blocks} blocks x {facts.block_size} tokens"
        f" = {facts.pool_bytes / 2**30:.2f} GiB; max_total_tokens {max_total_tokens};"
        f" max_batch_prefill_tokens {max_prefill_tokens}"
    )
    if facts.is_recurrent:
        words += (
            f"; recurrent layers: states of {facts.max_sequences} sequences ="
            f" {facts.state_bytes / 2**30:.2f} GiB, no prefix cache"
        )
    return words
