"""Random answers, uniform over the tokens that a mask allows, with budgets down to the smallest."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from random_faults import Judge, judge_of

from inlay_bench.grammars.cases import Case
from inlay_bench.grammars.results import AnswerFigures, AnswersResult
from inlay_bench.grammars.vocabularies import Vocabulary
from inlay_bench.progress import Progress
from inlay_grammars.closer import Plan
from inlay_grammars.compiler import Grammar, GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.guard import Guard
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError, GrammarSpec

BUDGETS = {"smallest": (0, 0), "8 more": (8, 0), "256": (0, 256)}
"""Tokens on top of the shortest answer found, and at least."""
MAX_NAMES = 40


@dataclass
class Answerer:
    """A random model for one vocabulary."""

    vocabulary: Vocabulary
    compiler: GrammarCompiler
    chance: Random = field(default_factory=lambda: Random("answers"))

    def __post_init__(self) -> None:
        self._mask = BatchMask(1, self.vocabulary.vocab_size, num_threads=1)
        self._eos_token_ids = set(self.vocabulary.eos_token_ids)

    def answer(self, matcher: Matcher, guard: Guard, budget: int) -> list[int] | None:
        """Tokens of a complete answer; None when the budget was not enough.

        Raises GrammarError when the grammar cannot be followed.
        """
        token_ids: list[int] = []
        while not matcher.is_stopped:
            if len(token_ids) == budget:
                return token_ids if matcher.is_accepting else None
            token_id = self._choose(matcher)
            if token_id in self._eos_token_ids:
                break
            taken = guard.take(matcher, token_id, budget - len(token_ids))
            if taken is None:
                break
            token_ids.append(taken)
        return token_ids

    def _choose(self, matcher: Matcher) -> int:
        if errors := self._mask.fill({0: matcher}):
            raise GrammarError(errors[0])
        bits = np.unpackbits(self._mask.words[0].view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits)
        return int(allowed[self.chance.randrange(len(allowed))])


@dataclass
class Plans:
    """The shortest answers that schemas have, in tokens."""

    found: list[tuple[Case, Grammar, Plan]] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    """What each took to be found, or not."""
    num_none: int = 0
    """Schemas for which none was found."""


def measure_answers(
    vocabulary: Vocabulary, cases: Sequence[Case], num_answers: int, progress: Progress
) -> AnswersResult:
    """Rounds over the schemas until there are so many answers with each budget."""
    facts = (vocabulary.tokenizer_json, vocabulary.vocab_size, vocabulary.eos_token_ids)
    compiler = GrammarCompiler(*facts)
    finishing = Finishing(compiler.tokens)
    answerer = Answerer(vocabulary, compiler)
    plans = find_plans(compiler, finishing, cases)
    progress.advance(f"{len(plans.found)} schemas have a plan, {plans.num_none} none")
    figures = []
    for budget, (more, least) in BUDGETS.items():
        of_budget = AnswerFigures(budget=budget)
        while of_budget.num_answers < num_answers and plans.found:
            for case, grammar, plan in plans.found[: num_answers - of_budget.num_answers]:
                guard = finishing.guard(grammar, plan)
                size = max(len(plan) + more, least)
                add_answer(answerer, of_budget, case, grammar, guard, size)
        figures.append(of_budget)
        progress.advance(f"{budget}: {of_budget.num_valid} of {of_budget.num_answers} are valid")
    return AnswersResult(
        num_schemas=len(plans.found) + plans.num_none,
        num_without_plan=plans.num_none,
        plan_tokens=[len(plan) for _, _, plan in plans.found],
        plan_ms=plans.milliseconds,
        budgets=figures,
    )


def find_plans(compiler: GrammarCompiler, finishing: Finishing, cases: Sequence[Case]) -> Plans:
    """Of those schemas that are held."""
    plans = Plans()
    for case in cases:
        try:
            grammar = compiler.compile(GrammarSpec("json", case.schema))
        except GrammarError:
            continue
        start = time.perf_counter()
        plan = finishing.first_plan(grammar)
        plans.milliseconds.append(round(1000 * (time.perf_counter() - start), 2))
        if plan is None:
            plans.num_none += 1
        else:
            plans.found.append((case, grammar, plan))
    return plans


def add_answer(
    answerer: Answerer,
    figures: AnswerFigures,
    case: Case,
    grammar: Grammar,
    guard: Guard,
    budget: int,
) -> None:
    """One more answer, judged."""
    figures.num_answers += 1
    start = time.perf_counter()
    try:
        token_ids = answerer.answer(grammar.matcher(), guard, budget)
    except GrammarError as error:
        figures.num_broken += 1
        note(figures, f"{case.name}: {error}")
        return
    finally:
        figures.seconds += time.perf_counter() - start
    if token_ids is None:
        figures.num_cut += 1
        note(figures, f"{case.name}: not ended within {budget}")
        return
    figures.num_tokens += len(token_ids)
    text = answerer.compiler.tokens.tokenizer.decode(token_ids, skip_special_tokens=False)
    if is_valid(judge_of(json.loads(case.schema)), text):
        figures.num_valid += 1
    else:
        figures.num_invalid += 1
        note(figures, f"{case.name}: {text}")


def note(figures: AnswerFigures, words: str) -> None:
    """Keep some examples."""
    if len(figures.wrong) < MAX_NAMES:
        figures.wrong.append(words[:500])


def is_valid(judge: Judge, text: str) -> bool:
    """Whether it is JSON that the schema allows."""
    try:
        return bool(judge.is_valid(json.loads(text)))
    except ValueError:
        return False
