"""The shortest way found to the end of an answer, from wherever a matcher stands."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from inlay_grammars.candidates import Candidates, Ids
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError
from inlay_grammars.walk import MAX_PLAN, OutOfTries, Purse, Walk

Plan = tuple[int, ...]
"""Tokens that complete an answer; empty when it is complete."""

_FIRST = (20_000, 1.0)
"""Tries, and seconds on the processor, for a plan of an answer that has not begun."""
_LATER = (4_000, 0.1)
"""The same in the middle of an answer: up to some 12 ms as a rule."""
_NUM_REUSED_FROM = 4
"""How deep in the old plan the new one may join it."""
_NUM_ANY = 16


class Closer:
    """Finds plans in one grammar. Deterministic; for one thread at a time.

    Plans are found by guessing what closes and taking it back: forced tokens, closing brackets and
    quotes, then short values. They need not be the shortest.
    """

    def __init__(
        self, candidates: Candidates, mask: BatchMask, eos_token_ids: Sequence[int]
    ) -> None:
        """mask: one row, as wide as the logits; used now and then."""
        self._candidates = candidates
        self._mask = mask
        self._eos_token_ids = frozenset(eos_token_ids)

    def first_plan(self, matcher: Matcher, hints: Sequence[str] = ()) -> Plan | None:
        """As `plan`, for an answer that has not begun: with more effort, and often the shortest."""
        encoded = [self._candidates.encode(hint) for hint in hints]
        plan = self.plan(matcher, encoded, effort=_FIRST)
        if plan is not None:
            plan = self._improved(matcher, encoded, plan)
        texts = [self._candidates.decode(plan)] if plan else []
        others = [self._candidates.encode(text) for text in (*texts, *hints)]
        plans = [other for other in (plan, *others) if other is not None]
        return min((p for p in plans if is_plan(matcher, p)), key=len, default=None)

    def _improved(self, matcher: Matcher, hints: Sequence[Ids], plan: Plan) -> Plan:
        """The plan, or a shorter one that parts from it somewhere."""
        walk = self._walk(matcher, hints, _FIRST)
        with suppress(OutOfTries):
            for place in range(MAX_PLAN):
                options = walk.options()
                if len(options) > 1:
                    plan = _best(walk, options, (), plan) or plan
                if not walk.takes(plan[place : place + 1]) or place + 1 >= len(plan):
                    break
        return plan

    def plan(
        self,
        matcher: Matcher,
        hints: Sequence[Ids] = (),
        known: Sequence[int] = (),
        effort: tuple[int, float] = _LATER,
    ) -> Plan | None:
        """Tokens that complete the answer; None when none were found.

        Args:
            matcher: is left as it was.
            hints: texts that patterns of the grammar ask for.
            known: a plan for the state before; its end is likely to be that of this one.
            effort: tokens to try, some 3 µs each, and seconds.
        """
        walk = self._walk(matcher, hints, effort)
        try:
            return self._shortest(walk, known)
        except OutOfTries:
            return None

    def _shortest(self, walk: Walk, known: Sequence[int]) -> Plan | None:
        """The only way as long as there is one, then the best of those that part there."""
        while not _ends(walk, known):
            if walk.takes_forced():
                continue
            options = walk.options()
            if len(options) > 1:
                return _best(walk, options, known, None)
            if not walk.steps() or len(walk.token_ids) > MAX_PLAN:
                return None
        return tuple(walk.token_ids)

    def _walk(self, matcher: Matcher, hints: Sequence[Ids], effort: tuple[int, float]) -> Walk:
        return Walk(matcher.copy(), self._candidates, hints, Purse(*effort), self._any_tokens)

    def _any_tokens(self, matcher: Matcher) -> list[Ids]:
        """Some tokens that the mask allows."""
        if self._mask.fill({0: matcher}):
            return []
        bits = np.unpackbits(self._mask.words[0].view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits)[: _NUM_ANY + len(self._eos_token_ids)].tolist()
        return [(token_id,) for token_id in allowed if token_id not in self._eos_token_ids]


def _best(
    walk: Walk, options: Sequence[Ids], known: Sequence[int], plan: Plan | None
) -> Plan | None:
    """The shortest of `plan` and those that begin with each of the options."""
    for token_ids in options:
        other = walk.fork(len(options))
        limit = MAX_PLAN if plan is None else len(plan) - 1
        with suppress(OutOfTries):
            other.takes(token_ids)
            plan = _follow(other, known, limit) or plan
    return plan


def _follow(walk: Walk, known: Sequence[int], limit: int) -> Plan | None:
    """The first guess at each step, up to an end; None if it is behind `limit` tokens."""
    while len(walk.token_ids) <= limit:
        if _ends(walk, known):
            return tuple(walk.token_ids) if len(walk.token_ids) <= limit else None
        if not walk.steps():
            return None
    return None


def _ends(walk: Walk, known: Sequence[int]) -> bool:
    """Whether the answer is complete here, or by what is left of a known plan."""
    if walk.matcher.is_accepting:
        return True
    starts = range(min(_NUM_REUSED_FROM, len(known)))
    return any(walk.takes(known[start:]) for start in starts) and walk.matcher.is_accepting


def is_plan(matcher: Matcher, token_ids: Sequence[int]) -> bool:
    """Whether these tokens complete the answer."""
    trial = matcher.copy()
    try:
        trial.consume(token_ids)
    except GrammarError:
        return False
    return trial.is_accepting
