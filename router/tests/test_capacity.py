"""What a replica can hold, in words."""

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.capacity import in_words


def test_the_operator_is_told_the_limits() -> None:
    facts = pb.ModelFacts(num_blocks=16384, block_size=16, pool_bytes=3 << 30)
    assert in_words(facts, max_total_tokens=8192, max_prefill_tokens=512) == (
        "KV cache: 16384 blocks x 16 tokens = 3.00 GiB;"
        " max_total_tokens 8192; max_batch_prefill_tokens 512"
    )
