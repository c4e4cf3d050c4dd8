"""What came of a request."""

from dataclasses import dataclass

from inlay_router.admission import ValidGenerateRequest
from inlay_router.bodies import Generated


@dataclass(frozen=True, slots=True)
class Result:
    """A request that was answered."""

    request: ValidGenerateRequest
    """As it was understood: its text, its prompt in token ids, its parameters."""
    answers: tuple[Generated, ...]
    """One for each that was asked for."""
