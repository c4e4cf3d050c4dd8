"""Cases of our own: random schemas with values that they allow and values that they refuse."""

import json
from random import Random
from typing import Any

from random_faults import judge_of, spoiled
from random_schemas import random_schema

from inlay_bench.grammars.cases import Case, make_case

GROUP = "generated"
NUM_VALUES = 4


def generate_cases(num_cases: int, seed: int = 0) -> list[Case]:
    """As many; the same for the same seed."""
    return [generate_case(Random(f"{seed} {index}"), index) for index in range(num_cases)]


def generate_case(chance: Random, index: int) -> Case:
    """One schema, its values judged by `jsonschema`."""
    sort = random_schema(chance)
    judge = judge_of(sort.schema)
    values: list[Any] = [sort.make(chance) for _ in range(NUM_VALUES)]
    wrong = [variant for value in values for variant in spoiled(judge, value, chance)]
    tests = [(value, judge.is_valid(value)) for value in values]
    distinct = {json.dumps(value): value for value in wrong}
    tests += [(value, False) for value in distinct.values()]
    return make_case(f"{GROUP}/{index}", GROUP, sort.schema, tests)
