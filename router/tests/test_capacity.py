"""What a replica can hold, in words."""

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.capacity import check_can_ever_run, in_words
from inlay_router.batching.sequence import Sequence
from inlay_router.errors import ValidationError
from inlay_router.request import GenerationRequest, Prompt


def test_the_operator_is_told_the_limits() -> None:
    facts = pb.ModelFacts(num_blocks=16384, block_size=16, pool_bytes=3 << 30)
    assert in_words(facts, max_total_tokens=8192, max_prefill_tokens=512) == (
        "KV cache: 16384 blocks x 16 tokens = 3.00 GiB;"
        " max_total_tokens 8192; max_batch_prefill_tokens 512"
    )


@pytest.mark.parametrize("name", ["max_new_tokens", "max_tokens"])
def test_a_client_is_told_of_the_limit_by_the_name_that_it_sent(name: str) -> None:
    prompt = Prompt(token_ids=tuple(range(30)))
    request = GenerationRequest(prompt=prompt, max_new_tokens=20, budget_name=name)
    with pytest.raises(ValidationError) as caught:
        check_can_ever_run(Sequence.of(request), BlockPool(num_blocks=2, block_size=16))
    assert (
        f"`inputs` tokens + `{name}` must be <= 33. Given: 30 `inputs` tokens and 20 `{name}`"
    ) in str(caught.value)


def test_the_operator_is_told_of_states() -> None:
    facts = pb.ModelFacts(
        num_blocks=2, block_size=16, is_recurrent=True, max_sequences=255, state_bytes=1 << 30
    )
    words = in_words(facts, max_total_tokens=32, max_prefill_tokens=512)
    assert words.endswith("; recurrent layers: states of 255 sequences = 1.00 GiB, no prefix cache")
