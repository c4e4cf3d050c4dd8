"""A matcher that is led to the end of its grammar, one guess after the other."""

import time
from collections.abc import Callable, Sequence

from inlay_grammars.candidates import Candidates, Closing, Ids
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError

MAX_PLAN = 2048
"""Tokens of the longest way that is looked for."""
_NUM_SINGLES = 6
"""Single characters of a text that may not end, before long runs are taken for most of it."""
_RUNS_PER_SINGLE = 4
_DIGITS_IN_A_ROW = 6
_STEPS_PER_HINT = 3
_TOKENS_PER_TRY = 8
"""Many tokens at once are cheaper than many tries."""


class OutOfTries(Exception):
    """An end was looked for long enough."""


class Purse:
    """What may still be tried: counted, so that the same search ends in the same way. Its time
    on the processor ends it only where trying is slow beyond measure."""

    def __init__(self, num_tries: int, seconds: float) -> None:
        """num_tries: tokens, allowed or not; some 3 µs each."""
        self._num_tries = num_tries
        self._deadline = time.thread_time() + seconds

    def pay(self, num_tokens: int) -> None:
        """For one try with so many tokens. Raises OutOfTries when nothing is left."""
        self._num_tries -= 1 + num_tokens // _TOKENS_PER_TRY
        if self._num_tries < 0 or time.thread_time() > self._deadline:
            raise OutOfTries

    def share(self, num_parts: int) -> "Purse":
        """One of as many equal parts of what is left; the time is for all of them."""
        part = Purse(self._num_tries // num_parts, 0)
        part._deadline = self._deadline
        return part


class Walk:
    """From one state of a matcher to an end, always by what is likely to close the most.

    Every guess that had to be made goes to the back of the line, so that whatever has to come
    sometime, as the `@` of a pattern, will be tried; and no recursion is entered for ever while
    there is another way.
    """

    def __init__(
        self,
        matcher: Matcher,
        candidates: Candidates,
        hints: Sequence[Ids],
        purse: Purse,
        any_tokens: Callable[[Matcher], Sequence[Ids]],
    ) -> None:
        """Leads `matcher` itself.

        Args:
            matcher: where the walk begins.
            candidates: what to try, by kind.
            hints: texts that the grammar asks for within strings.
            purse: pays for what is tried.
            any_tokens: some of the tokens allowed in a state, for where no candidate is.
        """
        self.token_ids: list[int] = []
        """Tokens gone by so far."""
        self.matcher = matcher
        self._candidates = candidates
        self._hints = list(hints)
        self._purse = purse
        self._any_tokens = any_tokens
        self._singles, self._runs = list(candidates.singles), list(candidates.runs)
        self._num_written = self._num_digits = 0
        self._digits, self._openers = list(candidates.digits), list(candidates.openers)

    def fork(self, num_parts: int) -> "Walk":
        """One of so many other walks that begin here, with a part of the purse."""
        purse, matcher = self._purse.share(num_parts), self.matcher.copy()
        twin = Walk(matcher, self._candidates, self._hints, purse, self._any_tokens)
        twin.token_ids = self.token_ids.copy()
        return twin

    def takes(self, token_ids: Sequence[int]) -> bool:
        """Go on by these tokens if all of them are allowed."""
        self._purse.pay(len(token_ids))
        try:
            self.matcher.consume(token_ids)
        except GrammarError:
            return False
        self.token_ids += token_ids
        return True

    def allows(self, token_ids: Sequence[int]) -> bool:
        """The same without going on."""
        if not self.takes(token_ids):
            return False
        self.matcher.rollback(len(token_ids))
        del self.token_ids[len(self.token_ids) - len(token_ids) :]
        return True

    def takes_forced(self) -> bool:
        """Go on by what must come next, if the grammar knows it. Raises OutOfTries if that has
        no end in sight."""
        forced = self.matcher.forced_tokens()
        if len(forced) > MAX_PLAN:
            raise OutOfTries
        return bool(forced) and self.takes(forced)

    def options(self) -> list[Ids]:
        """Ways to go on of different kinds, the most promising first; none in free text."""
        if self._is_text():
            return []
        closing = (*self._candidates.brackets, self._candidates.quote)
        singles = [[bracket.alone] for bracket in closing if bracket.alone]
        openers = [[ids] for ids in (*self._openers, *self._hints)]
        groups = [*singles, *self._candidates.structure, self._digits, *openers]
        found = [ids for group in groups if (ids := self._first(group))]
        return found or [ids for ids in self._candidates.singles if self.allows(ids)]

    def steps(self) -> bool:
        """Go on by the best guess. Returns False when there is none."""
        if self.takes_forced():
            return True
        if self._is_text():
            return self._closes(self._candidates.quote) or self._writes()
        self._num_written = 0
        return (
            any(self._closes(closing) for closing in self._candidates.brackets)
            or self.takes(self._candidates.quote.alone)
            or any(self._takes_any(group) for group in self._candidates.structure)
            or self._counts()
            or self._opens()
            or self._writes()
        )

    def _counts(self) -> bool:
        """Go on by a digit. Where they have no end by themselves something else is tried too."""
        self._num_digits += 1
        is_long = self._num_digits % _DIGITS_IN_A_ROW == 0
        kinds = (self._singles, self._digits) if is_long else (self._digits,)
        return any(self._takes_in_turn(kind) for kind in kinds)

    def _opens(self) -> bool:
        allowed = [token_ids for token_ids in self._openers if self.allows(token_ids)]
        if len(allowed) > 1:
            self._openers.remove(allowed[0])
            self._openers.append(allowed[0])
        return bool(allowed) and self.takes(allowed[0])

    def _closes(self, closing: Closing) -> bool:
        return self.allows(closing.alone) and self._takes_any(closing.longest_first)

    def _is_text(self) -> bool:
        return any(self.allows(token_ids) for token_ids in self._candidates.probes)

    def _first(self, candidates: Sequence[Ids]) -> Ids | None:
        return next((token_ids for token_ids in candidates if self.allows(token_ids)), None)

    def _takes_any(self, candidates: Sequence[Ids]) -> bool:
        return any(self.takes(token_ids) for token_ids in candidates)

    def _writes(self) -> bool:
        """Go on within a text that may not end yet."""
        self._num_written += 1
        if self._num_written % _STEPS_PER_HINT == 1 and self._takes_in_turn(self._hints):
            return True
        is_short = self._num_written <= _NUM_SINGLES or self._num_written % _RUNS_PER_SINGLE == 0
        kinds = [self._singles, self._digits]
        kinds.insert(len(kinds) if is_short else 0, self._runs)
        return any(self._takes_in_turn(kind) for kind in kinds) or self._takes_any(
            self._any_tokens(self.matcher)
        )

    def _takes_in_turn(self, candidates: list[Ids]) -> bool:
        for place, token_ids in enumerate(candidates):
            if self.takes(token_ids):
                candidates.append(candidates.pop(place))
                return True
        return False
