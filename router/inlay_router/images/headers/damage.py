"""What is wrong with a header."""


class Damaged(Exception):
    """It breaks the rules of its format, or uses one that decoders read in different ways."""


class TooManyParts(Exception):
    """It has more parts than any picture needs, each of which costs whoever reads them time."""

    def __init__(self, kind: str, limit: int) -> None:
        """kind: how the format calls its parts."""
        super().__init__(f"it has more than {limit} {kind}")
