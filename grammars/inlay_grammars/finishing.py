"""Brings answers to an end in time: plans for new grammars, guards for sequences."""

from functools import lru_cache

from inlay_grammars.backends.tokens import ModelTokens
from inlay_grammars.candidates import Candidates
from inlay_grammars.closer import Closer, Plan, is_plan
from inlay_grammars.compiler import Grammar
from inlay_grammars.guard import Exit, Guard, reach
from inlay_grammars.hints import hints
from inlay_grammars.mask import BatchMask
from inlay_grammars.source import Source

_MAX_EXITS = 1024


class Finishing:
    """For one model. For one thread at a time."""

    def __init__(self, tokens: ModelTokens) -> None:
        """Takes about a millisecond."""
        mask = BatchMask(1, tokens.vocab_size, num_threads=1)
        self._candidates = Candidates(tokens.tokenizer)
        self._closer = Closer(self._candidates, mask, tokens.eos_token_ids)
        self._exit = lru_cache(_MAX_EXITS)(self._new_exit)

    def first_plan(self, grammar: Grammar) -> Plan | None:
        """Tokens of a short complete answer, often of the shortest; None if none was found.

        Takes about 1 ms, and up to some 100 ms.
        """
        return self._closer.first_plan(grammar.matcher(), hints(grammar.source))

    def guard(self, grammar: Grammar, plan: Plan) -> Guard:
        """For a new sequence.

        Args:
            grammar: what it follows.
            plan: what `first_plan` found, here or elsewhere; another one is looked for if it does
                not hold here.
        """
        is_good = is_plan(grammar.matcher(), plan)
        return Guard(self._exit(grammar.source), plan if is_good else self.first_plan(grammar))

    def _new_exit(self, source: Source) -> Exit:
        encoded = [self._candidates.encode(hint) for hint in hints(source)]
        return Exit(closer=self._closer, hints=encoded, reach=reach(source))
