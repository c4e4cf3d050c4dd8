"""Sorts the parallel arrays of a step's result by sequence."""

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Several
from itertools import accumulate, pairwise

from msgspec import Struct

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.sequence import Sequence
from inlay_router.telemetry.stats import Counters


class Delivery(Struct, gc=False):
    """What one result says about one sequence. A Struct, as one is made for each row."""

    sequence: Sequence
    token_ids: Several[int] = ()
    """New tokens of the answer."""
    logprobs: Several[float] = ()
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

    @property
    def is_our_fault(self) -> bool:
        """Whether what the sequence computed is not to be trusted."""
        return self.failure is not None and self.failure.kind == pb.RowFailure.KIND_INTERNAL


def deliveries(result: pb.StepResult, running: Mapping[int, Sequence]) -> list[Delivery]:
    """One delivery for each sequence of `running` that the result names; other ids have left."""
    rows = zip(map(running.get, result.sequence_ids), *_tokens_by_row(result), strict=True)
    news = [Delivery(row[0], row[1], row[2]) for row in rows if row[0] is not None]
    return _with_all_else(result, running, news) if _says_more(result) else news


def _tokens_by_row(
    result: pb.StepResult,
) -> tuple[Iterable[Several[int]], Iterable[Several[float]]]:
    """Token ids and log-probabilities of each row that produced some."""
    token_ids, logprobs, counts = result.token_ids[:], result.logprobs[:], result.num_tokens[:]
    if counts.count(1) == len(counts) == len(token_ids):
        return zip(token_ids, strict=True), zip(logprobs, strict=True)
    bounds = list(pairwise(accumulate(counts, initial=0)))
    return [token_ids[start:end] for start, end in bounds], [
        logprobs[start:end] for start, end in bounds
    ]


def _says_more(result: pb.StepResult) -> bool:
    """Whether there is anything beside tokens, which is rare."""
    return bool(
        result.top_tokens
        or result.prompt_logprobs
        or result.logits
        or result.shortened_ids
        or result.endings
        or result.failures
        or any(result.num_forced)
    )


def _with_all_else(
    result: pb.StepResult, running: Mapping[int, Sequence], news: list[Delivery]
) -> list[Delivery]:
    found = {delivery.sequence.sequence_id: delivery for delivery in news}

    def about(sequence_id: int) -> Delivery | None:
        if sequence_id not in found and (sequence := running.get(sequence_id)) is not None:
            found[sequence_id] = Delivery(sequence)
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
            found[failure.sequence_id] = Delivery(delivery.sequence, failure=failure)
    _note_forced(result, found)
    return list(found.values())


def _note_forced(result: pb.StepResult, found: Mapping[int, Delivery]) -> None:
    if not result.num_forced:
        return
    for sequence_id, num_forced in zip(result.sequence_ids, result.num_forced, strict=True):
        if num_forced and (delivery := found.get(sequence_id)) is not None:
            delivery.num_forced = num_forced


def take(news: Iterable[Delivery], counters: Counters) -> list[Sequence]:
    """Give new tokens to their sequences, and count them.

    Returns the sequences whose rows turned out longer than they were scheduled.
    """
    num_tokens, longer = 0, []
    for delivery in news:
        sequence, token_ids = delivery.sequence, delivery.token_ids
        sequence.token_ids.extend(token_ids)
        num_tokens += len(token_ids)
        sequence.has_shortened |= delivery.has_shortened
        if delivery.num_forced:
            sequence.lengthen(delivery.num_forced)
            counters.num_forced_tokens += delivery.num_forced
            longer.append(sequence)
    counters.num_tokens += num_tokens
    return longer


def failure_of(sequence: Sequence, reason: str) -> Delivery:
    """A sequence cannot go on for a fault that is not its client's."""
    failure = pb.RowFailure(kind=pb.RowFailure.KIND_INTERNAL, message=reason)
    return Delivery(sequence, failure=failure)
