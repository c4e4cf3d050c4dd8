"""Drives the batcher over a link: one task sends steps, one settles results, streams get tokens."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.batcher import BatchLimits
from inlay_router.links.link import Link
from inlay_router.request import Finish, GenerationRequest, Token
from inlay_router.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What the metrics page shows of the engine; counters never fall."""

    num_waiting: int
    num_running: int
    num_blocks: int
    num_blocks_used: int
    num_steps: int
    num_tokens: int
    num_preemptions: int
    num_reconnects: int


class Generation:
    """INTERFACE, the body follows."""

    facts: pb.ModelFacts
    """What the replica said of itself; set by `start`."""
    tokenizer: Tokenizer
    """Of `facts.tokenizer_json`; set by `start`."""

    def __init__(self, link: Link, limits: BatchLimits) -> None: ...

    async def start(self) -> pb.ModelFacts:
        """Connect (waits as long as the model loads) and begin to run steps."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End every stream with IncompleteGeneration and close the link."""

    @property
    def is_ready(self) -> bool:
        """Whether the replica is connected now."""
        raise NotImplementedError

    @property
    def stats(self) -> Stats:
        raise NotImplementedError

    def stream(
        self, request: GenerationRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[Token | Finish]]:
        """Tokens as they are chosen, then one Finish.

        Entering raises Overloaded when the queue is full, and ValidationError when the sequence
        can never fit the KV pool. Iterating raises RouterErrors: GenerationFailed,
        ValidationError (the shard found the client at fault), IncompleteGeneration.
        Leaving the context, also by cancellation, frees the sequence's blocks in the next step.
        """
        raise NotImplementedError

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepare a prompt with images on every rank; waits out a restart of the shards.

        Raises ValidationError when the model's processor refuses, GenerationFailed when it
        repeatedly took the shard down.
        """
        raise NotImplementedError
