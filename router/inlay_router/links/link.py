"""The seam between the router and a replica: remote (gRPC), embedded (this process) or scripted."""

from typing import Protocol

from inlay_proto import generate_pb2 as pb


class LinkLost(Exception):
    """The replica went away: what was in flight will get no result. `connect` again."""


class LinkRefused(LinkLost):
    """The replica would not open the stream of steps, so nothing that was sent has run."""


class PreparationRefused(Exception):
    """The model's processor cannot use the prompt; the words are for the client."""


class Link(Protocol):
    """One replica: all ranks of a tensor-parallel group, spoken to as one.

    `connect`, then `send` and `receive` until LinkLost, then `connect` again.
    """

    async def connect(self) -> pb.ModelFacts:
        """Wait until every rank is ready, open the stream of steps, and say what the model is.

        Whatever the ranks held of an earlier stream is dropped.
        """

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepare images on every rank.

        Raises PreparationRefused for the client's fault and LinkLost when the replica is away.
        """

    async def send(self, step: pb.Step) -> None:
        """Hand a step to every rank. Raises LinkLost."""

    async def receive(self) -> pb.StepResult:
        """The next result, in the order of the steps. Raises LinkLost."""

    async def is_alive(self, *, within: float) -> bool:
        """Whether every rank says within so many seconds that it lives, whatever it computes."""

    async def end(self) -> None:
        """End ranks that hang, as far as that is possible; who started them starts them again."""

    async def close(self) -> None:
        """End the stream and free the connection; the ranks drop their sequences."""
