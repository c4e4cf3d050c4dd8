"""A batcher step by step: sequences in, steps out, results back."""

from typing import Any

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.blocks import BlockPool
from inlay_router.batching.delivery import Delivery
from inlay_router.batching.replica import Replica
from inlay_router.batching.sequence import Sequence
from inlay_router.request import GenerationRequest, Prompt


def a_batcher(*, num_blocks: int = 100, block_size: int = 4, **limits: Any) -> Batcher:
    """Over a pool of its own, with the given limits."""
    pool = BlockPool(num_blocks=num_blocks, block_size=block_size)
    return Batcher(BatchLimits(**limits), Replica(pool=pool))


def a_sequence(num_prompt_tokens: int = 3, max_new_tokens: int = 20, **fields: Any) -> Sequence:
    """Whose prompt is 0, 1, 2 and so on."""
    prompt = Prompt(token_ids=tuple(range(num_prompt_tokens)))
    return Sequence.of(GenerationRequest(prompt=prompt, max_new_tokens=max_new_tokens, **fields))


def add(batcher: Batcher, *sequences: Sequence) -> None:
    """All of them, in this order."""
    for sequence in sequences:
        batcher.add(sequence)


def send(batcher: Batcher) -> pb.Step:
    """The next step, which there must be."""
    step = batcher.next_step()
    assert step is not None, repr(batcher)
    return step


def rows(step: pb.Step) -> dict[int, int]:
    """Tokens of the rows that the step names, by sequence id."""
    return dict(zip(step.rows.sequence_ids, step.rows.num_tokens, strict=True))


def result(step: pb.Step, *sequence_ids: int, ended: tuple[int, ...] = ()) -> pb.StepResult:
    """One token, 9, for each of these rows."""
    return pb.StepResult(
        step_id=step.step_id,
        sequence_ids=sequence_ids,
        num_tokens=[1] * len(sequence_ids),
        token_ids=[9] * len(sequence_ids),
        logprobs=[-0.5] * len(sequence_ids),
        endings=[pb.Ending(sequence_id=i, reason=pb.END_REASON_EOS_TOKEN) for i in ended],
    )


def settle(
    batcher: Batcher, step: pb.Step, *sequence_ids: int, ended: tuple[int, ...] = ()
) -> list[Delivery]:
    """As if the shard had answered with `result`."""
    return batcher.settle(result(step, *sequence_ids, ended=ended))
