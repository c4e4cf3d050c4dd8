"""Sorts the parallel arrays of a step's result by sequence."""

from collections.abc import Mapping

from msgspec import Struct, field

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.sequence import Sequence


class Delivery(Struct, kw_only=True):
    """What one result says about one sequence. A Struct, as one is made for each row."""

    sequence: Sequence
    token_ids: list[int] = field(default_factory=list)
    """New tokens of the answer."""
    logprobs: list[float] = field(default_factory=list)
    """One for each of `token_ids`."""
    num_forced: int = 0
    """How many of `token_ids`, the first ones, the row computed beside those asked of it."""
    top_tokens: pb.TopTokens | None = None
    prompt_logprobs: pb.PromptLogprobs | None = None
    logits: bytes = b""
    """Of the first of `token_ids`."""
    has_shortened: bool = False
    """Whether a token was changed so that the answer ends in time."""
    ending: pb.EndReason | None = None
    """Set: the shard ended the sequence, and it has left the batcher."""
    failure: pb.RowFailure | None = None
    """Set: the sequence cannot go on as it is, and has left the batcher. It has no tokens then."""


def deliveries(result: pb.StepResult, running: Mapping[int, Sequence]) -> list[Delivery]:
    """One delivery for each sequence of `running` that the result names; other ids have left."""
    found = _with_tokens(result, running)

    def about(sequence_id: int) -> Delivery | None:
        if sequence_id not in found and (sequence := running.get(sequence_id)) is not None:
            found[sequence_id] = Delivery(sequence=sequence)
        return found.get(sequence_id)

    for top_tokens in result.top_tokens:
        if (delivery := about(top_tokens.sequence_id)) is not None:
            delivery.top_tokens = top_tokens
    for prompt_logprobs in result.prompt_logprobs:
        if (delivery := about(prompt_logprobs.sequence_id)) is not None:
            delivery.prompt_logprobs = prompt_logprobs
    for logits in result.logits:
        if (delivery := about(logits.sequence_id)) is not None:
            delivery.logits = logits.values
    for sequence_id in result.shortened_ids:
        if (delivery := about(sequence_id)) is not None:
            delivery.has_shortened = True
    for ending in result.endings:
        if (delivery := about(ending.sequence_id)) is not None:
            delivery.ending = ending.reason
    for failure in result.failures:
        if (delivery := about(failure.sequence_id)) is not None:
            found[failure.sequence_id] = Delivery(sequence=delivery.sequence, failure=failure)
    _note_forced(result, found)
    return list(found.values())


def _note_forced(result: pb.StepResult, found: Mapping[int, Delivery]) -> None:
    if not result.num_forced:
        return
    for sequence_id, num_forced in zip(result.sequence_ids, result.num_forced, strict=True):
        if num_forced and (delivery := found.get(sequence_id)) is not None:
            delivery.num_forced = num_forced


def _with_tokens(result: pb.StepResult, running: Mapping[int, Sequence]) -> dict[int, Delivery]:
    token_ids, logprobs = list(result.token_ids), list(result.logprobs)
    found: dict[int, Delivery] = {}
    start = 0
    for sequence_id, num_tokens in zip(result.sequence_ids, result.num_tokens, strict=True):
        end = start + num_tokens
        if (sequence := running.get(sequence_id)) is not None:
            found[sequence_id] = Delivery(
                sequence=sequence, token_ids=token_ids[start:end], logprobs=logprobs[start:end]
            )
        start = end
    return found
