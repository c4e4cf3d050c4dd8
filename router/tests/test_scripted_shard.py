"""The scripted shard notices when the rules of generate.proto are broken."""

import pytest

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import ScriptedShard, scripted_facts, spell
from inlay_router.text.tokenizer import Tokenizer


def a_shard() -> ScriptedShard:
    return ScriptedShard(spell("abc"), scripted_facts(num_blocks=4, block_size=2))


def a_step(step_id: int = 1, **fields: object) -> pb.Step:
    return pb.Step(step_id=step_id, **fields)  # type: ignore[arg-type]


def joining(sequence_id: int = 1) -> pb.Sequence:
    return pb.Sequence(
        sequence_id=sequence_id, token_ids=[1, 2], num_prompt_tokens=2, max_new_tokens=9
    )


def growth(*block_ids: int) -> pb.BlockGrowth:
    return pb.BlockGrowth(sequence_id=1, block_ids=block_ids)


def rows(*num_tokens: int) -> pb.Rows:
    return pb.Rows(sequence_ids=[1] * len(num_tokens), num_tokens=num_tokens)


def test_it_answers_what_it_is_told_to() -> None:
    shard = a_shard()
    shard.run(a_step(joining=[joining()], growths=[growth(0, 1, 2)], rows=rows(2)))
    results = [shard.run(a_step(step_id)) for step_id in (2, 3, 4)]
    token_ids = [token_id for result in results for token_id in result.token_ids]
    assert Tokenizer(shard.facts.tokenizer_json).decode(token_ids) == "bc</s>"
    assert [len(result.endings) for result in results] == [0, 0, 1]
    assert shard.held_ids == []


def test_what_a_row_reads_comes_from_its_blocks() -> None:
    seen: list[list[int]] = []

    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        seen.append(token_ids)
        return 5

    shard = ScriptedShard(choose, scripted_facts(num_blocks=4, block_size=2))
    shard.run(a_step(joining=[joining()], growths=[growth(0)], rows=rows(2)))
    intruder = pb.Sequence(sequence_id=2, token_ids=[7, 8], num_prompt_tokens=2, max_new_tokens=9)
    same_block = pb.BlockGrowth(sequence_id=2, block_ids=[0])
    only_row = pb.Rows(sequence_ids=[2], num_tokens=[2])
    shard.run(a_step(2, joining=[intruder], growths=[same_block], rows=only_row))
    shard.run(a_step(3, growths=[growth(1)], rows=rows(1)))
    assert seen == [[1, 2], [7, 8], [7, 8, 5]], "the first owner now reads what is not its own"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (a_step(2), "step 2 after 0"),
        (a_step(joining=[joining(), joining()]), "id 1 used twice"),
        (a_step(rows=rows(1)), "row of 1, which never joined"),
        (a_step(joining=[joining()], growths=[growth(4)]), "block 4 is not in the pool"),
        (a_step(joining=[joining()], rows=rows(2)), "no block for position 0"),
        (a_step(joining=[joining()], growths=[growth(0, 1)], rows=rows(3)), "row of 3"),
        (a_step(joining=[joining()], growths=[growth(0)], rows=rows(1, 1)), "stands in two rows"),
    ],
)
def test_a_broken_rule_is_named(step: pb.Step, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        a_shard().run(step)
