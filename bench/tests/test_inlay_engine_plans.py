"""The steps that the engine in process is sent."""

from inlay_bench.adapters.inlay_engine import STEP_TOKENS, plans


def test_prompts_share_the_budget_and_decode_behind_it() -> None:
    steps = list(plans({1: STEP_TOKENS - 100, 2: 150, 3: 60}, num_new_tokens=3))
    assert [step.joining_ids for step in steps] == [[1, 2], [3], [], []]
    assert [step.rows for step in steps] == [
        {1: STEP_TOKENS - 100, 2: 100},
        {1: 1, 2: 50, 3: 60},
        {1: 1, 2: 1, 3: 1},
        {2: 1, 3: 1},
    ]


def test_one_new_token_needs_no_decode_step() -> None:
    assert [step.rows for step in plans({5: 2 * STEP_TOKENS}, 1)] == [{5: STEP_TOKENS}] * 2
