"""Generated schemas come with instances that an independent validator judges in the same way."""

import json

from random_faults import judge_of
from tokenizers import Tokenizer

from inlay_bench.grammars.answers import BUDGETS, measure_answers
from inlay_bench.grammars.generated import generate_cases
from inlay_bench.grammars.vocabularies import Vocabulary, embedded_vocabulary
from inlay_bench.progress import Progress


def test_cases_are_the_same_for_a_seed_and_judged_right() -> None:
    cases = generate_cases(30)
    assert cases == generate_cases(30) != generate_cases(30, seed=1)
    for case in cases:
        judge = judge_of(json.loads(case.schema))
        verdicts = tuple(judge.is_valid(json.loads(text)) for text in case.instances)
        assert verdicts == case.are_valid
    assert sum(case.are_valid.count(False) for case in cases) > 100
    assert all(case.are_valid.count(True) for case in cases)


def test_random_answers_end_within_every_budget() -> None:
    vocabulary: Vocabulary = embedded_vocabulary()
    assert Tokenizer.from_str(vocabulary.tokenizer_json).get_vocab_size() == vocabulary.vocab_size
    with open("/dev/null", "w") as silence:
        result = measure_answers(vocabulary, generate_cases(12), 20, Progress(9, silence))
    assert [each.budget for each in result.budgets] == list(BUDGETS)
    for figures in result.budgets:
        assert (figures.num_answers, figures.num_valid) == (20, 20), figures.wrong
