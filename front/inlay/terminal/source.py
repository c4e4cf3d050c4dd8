"""Where answers come from: a server, or the engine in this process."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from inlay.terminal.conversation import Body


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The last thing of an answer that was not stopped."""

    finish_reason: str
    """`stop` or `length`."""
    num_prompt_tokens: int
    num_answer_tokens: int


Pieces = Generator[str | Ended, None, None]
"""Texts as they come, then how it ended; to close it stops the answer."""


class Source(Protocol):
    """Answers requests, one at a time."""

    @property
    def model_id(self) -> str:
        """As the server, or the folder, calls it."""

    def chat(self, body: Body) -> Pieces:
        """The answer to a chat. Raises TerminalErrors, NoTemplate among them."""

    def plain(self, body: Body) -> Pieces:
        """The same for the body of `/generate_stream`."""

    def close(self) -> None:
        """Give back what it holds."""
