"""Who is told of every step, for metrics and nothing else."""

from typing import Protocol

from inlay_proto import generate_pb2 as pb


class StepObserver(Protocol):
    """Told in the order of the events; must not raise, and must be quick."""

    def sent(self, step: pb.Step) -> None:
        """A step went to the replica."""

    def settled(self, result: pb.StepResult) -> None:
        """The result of the oldest step in flight came back."""

    def lost(self) -> None:
        """What is in flight will not come back."""


class Unobserved:
    """Nobody is told."""

    def sent(self, step: pb.Step) -> None:
        """Nothing."""

    def settled(self, result: pb.StepResult) -> None:
        """Nothing."""

    def lost(self) -> None:
        """Nothing."""
