"""What a trial in the compile process found out about a grammar."""

from dataclasses import dataclass

from inlay_grammars.options import BackendChoice


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of one compilation. Travels as JSON: plain values only."""

    error: str | None = None
    """Why the grammar is refused, for the client; None if it can be used."""
    is_final: bool = True
    """Another try would end the same way; false if the machine may just have been busy."""
    warnings: tuple[str, ...] = ()
    """What is not enforced, for the client; only where the client asked for leniency."""
    backend: BackendChoice = "auto"
    """The backend that accepted the grammar, for whoever compiles it again."""
    lark: str | None = None
    """The same grammar in Lark, for whoever compiles it again, if the client wrote another one."""
    first_plan: tuple[int, ...] | None = None
    """Tokens of a short complete answer, often of the shortest; None if none was found."""

    @property
    def num_bytes(self) -> int:
        """About how much memory it takes in a cache."""
        return (
            200
            + len(self.error or "")
            + len(self.lark or "")
            + sum(map(len, self.warnings))
            + 8 * len(self.first_plan or ())
        )
