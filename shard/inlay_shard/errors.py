"""Every way a shard can fail, and whom each failure is for.

ShardError
├── ModelRefused        the operator: this model cannot be served so; ends the process
├── PreparationRefused  a client: its images or its text cannot be used
└── RowFailed           a client: its sequence cannot go on; its neighbours can
"""

from collections.abc import Iterator
from contextlib import contextmanager

from inlay_proto import generate_pb2 as pb

CONFIGURATION_ERROR = 78
"""Exit code (`EX_CONFIG`) of a process that would fail in the same way if it were started again."""


class ShardError(Exception):
    """A failure with words for whom it is for."""


class ModelRefused(ShardError):
    """The model cannot be served; the message says why."""


class PreparationRefused(ShardError):
    """The images or the text of a prompt cannot be used; the message is for the client."""


class RowFailed(ShardError):
    """One sequence cannot go on; the message is for its client."""

    def __init__(self, kind: pb.RowFailure.Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@contextmanager
def naming_type(model_type: str) -> Iterator[None]:
    """Within, a ModelRefused says of which type the model is."""
    try:
        yield
    except ModelRefused as refusal:
        raise ModelRefused(f"{refusal} (model type {model_type})") from refusal
