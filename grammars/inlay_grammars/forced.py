"""Names the tokens that must come next in one sequence, while there is but one that may."""

from collections import deque

from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError


class ForcedTokens:
    """Where a mask would allow one token alone, that token; for one sequence and one thread.

    A backend names a whole run at once, which can take milliseconds where the grammar forces
    thousands of tokens. So a run is remembered until it is gone by, or left.
    """

    __slots__ = ("_run",)

    def __init__(self) -> None:
        self._run: deque[int] = deque()

    def __repr__(self) -> str:
        return f"<ForcedTokens {list(self._run)}>"

    def next(self, matcher: Matcher) -> int | None:
        """The token that must come next, if it is known and the answer may go on behind it.

        None says nothing: there may be one all the same.
        """
        if not self._run and matcher.shows_forced_alone:
            self._run.extend(matcher.forced_tokens())
        if not self._run or (len(self._run) == 1 and _ends(matcher, self._run[0])):
            return None
        return self._run[0]

    def follow(self, token_id: int) -> None:
        """The matcher goes on by this token, forced or not."""
        if self._run and self._run.popleft() != token_id:
            self._run.clear()


def _ends(matcher: Matcher, token_id: int) -> bool:
    """Whether nothing may follow behind a token, or not even that may."""
    try:
        matcher.consume([token_id])
    except GrammarError:
        return True
    is_end = matcher.is_stopped
    matcher.rollback(1)
    return is_end
