"""Keeps the end of an answer within its budget, token by token."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from inlay_grammars.candidates import Ids
from inlay_grammars.closer import Closer, Plan
from inlay_grammars.matcher import Matcher
from inlay_grammars.source import Source
from inlay_grammars.spec import GrammarError

_NUM_LAZY = 16
"""Tokens between two searches while the end of the budget is far."""
_MAX_PAUSE = 63
"""Tokens between two searches where plans are not found."""
_MIN_REACH = 512
_COUNT = re.compile(r"(?<!\d)\d{1,5}(?!\d)")
_NUM_HOPEFUL = 256
"""With so many tokens left an answer may go on where no plan is found, in the hope of one later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """How answers in one grammar can come to an end."""

    closer: Closer
    hints: Sequence[Ids]
    """Texts that patterns of the grammar ask for."""
    reach: int
    """Tokens that one token can add to a plan, or more."""


def reach(source: Source) -> int:
    """The `reach` of a grammar: what it demands stands in its text, or is counted there."""
    counts = (int(digits) for digits in _COUNT.findall(source.text))
    return _MIN_REACH + len(source.text) // 2 + sum(counts)


class Guard:
    """Lets one sequence take a token only if what completes its answer behind it still fits.

    Otherwise it takes the next token of the last plan that did. What it decides depends on the
    grammar, the tokens so far and the budget alone, so a sequence that goes on elsewhere goes on
    in the same way. For one thread at a time.
    """

    def __init__(self, way: Exit, plan: Plan | None) -> None:
        """way: how answers in the grammar end. plan: completes an answer that has not begun; None
        if none was found."""
        self._exit = way
        self._plan = plan
        self._last_plan: Plan = plan or ()
        self._num_to_skip = self._pause = 0

    def __repr__(self) -> str:
        return f"<Guard {'without a plan' if self._plan is None else f'{len(self._plan)} to go'}>"

    def follow(self, matcher: Matcher, token_id: int, num_left: int) -> None:
        """Go on by a token that was taken before, as `take`."""
        self._look(matcher, num_left)
        matcher.consume([token_id])
        self._settle(self._plan_behind(matcher, token_id, num_left), num_left)

    def take(self, matcher: Matcher, token_id: int, num_left: int) -> int | None:
        """Go on by `token_id` if that leaves room to complete the answer, else by another token.

        Args:
            matcher: goes on by the token taken.
            token_id: chosen under the mask, not an end token.
            num_left: tokens that the budget has room for, this one included.

        Returns:
            The token taken; None if the answer is complete and must end here.

        Raises:
            GrammarError: as `Matcher.consume`.
        """
        self._look(matcher, num_left)
        matcher.consume([token_id])
        plan = self._plan_behind(matcher, token_id, num_left)
        known = self._plan
        if known is None or len(known) > num_left or self._fits(plan, num_left - 1):
            self._settle(plan, num_left)
            return token_id
        matcher.rollback(1)
        if not known:
            return None
        matcher.consume(known[:1])
        self._settle(known[1:], num_left)
        return known[0]

    def is_sure_of(self, token_id: int, num_left: int) -> bool:
        """Whether `take` takes this token, if the grammar allows it, whatever a search finds."""
        is_planned = self._plan is not None and self._plan[:1] == (token_id,)
        return is_planned or self._is_far(num_left)

    def _is_far(self, num_left: int) -> bool:
        return num_left > self._exit.reach + 2 * len(self._last_plan)

    def _fits(self, plan: Plan | None, num_left: int) -> bool:
        if plan is None:
            return num_left > _NUM_HOPEFUL
        return len(plan) <= num_left

    def _look(self, matcher: Matcher, num_left: int) -> None:
        """Find a plan, unless there is one or it is not worth it yet."""
        if self._plan is not None:
            return
        if self._num_to_skip and (self._pause or self._is_far(num_left)):
            self._num_to_skip -= 1
        else:
            self._settle(self._search(matcher), num_left)

    def _plan_behind(self, matcher: Matcher, token_id: int, num_left: int) -> Plan | None:
        """A plan for the state that `matcher` is in since it went on by `token_id`."""
        known = self._plan
        if known is None:
            return None
        if known and known[0] == token_id:
            return known[1:]
        if _leads_to_end(matcher, known):
            return known
        return None if self._is_far(num_left) else self._search(matcher)

    def _search(self, matcher: Matcher) -> Plan | None:
        return self._exit.closer.plan(matcher, self._exit.hints, self._last_plan)

    def _settle(self, plan: Plan | None, num_left: int) -> None:
        """Note a plan. Where none can be found the pauses grow, as searches take long there."""
        if plan is not None:
            self._last_plan, self._pause = plan, 0
        elif self._plan is not None and self._is_far(num_left):
            self._num_to_skip = _NUM_LAZY
        elif not self._num_to_skip:
            self._pause = self._num_to_skip = min(2 * self._pause + 1, _MAX_PAUSE)
        self._plan = plan


def _leads_to_end(matcher: Matcher, plan: Plan) -> bool:
    try:
        matcher.consume(plan)
    except GrammarError:
        return False
    is_end = matcher.is_accepting
    matcher.rollback(len(plan))
    return is_end
