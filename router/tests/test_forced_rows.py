"""Rows that turn out longer than they were scheduled, because a grammar forced tokens."""

import asyncio
from typing import Any

import pytest
from batcher_steps import a_batcher, a_sequence, send

from inlay_proto import generate_pb2 as pb
from inlay_router.batching.batcher import Batcher
from inlay_router.batching.generation import Generation
from inlay_router.batching.sequence import Sequence
from inlay_router.links.scripted import ScriptedLink
from inlay_router.links.scripted_shard import ScriptedShard, spell
from inlay_router.request import Finish, FinishReason, GenerationRequest, Prompt, Token
from inlay_router.text.tokenizer import Tokenizer

GRAMMAR = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="not looked at")


def a_forced(**fields: Any) -> Sequence:
    """One with a grammar."""
    asked: dict[str, Any] = {"max_new_tokens": 40, "grammar": GRAMMAR}
    return a_sequence(**asked | fields)


def settle(batcher: Batcher, step: pb.Step, *token_ids: int, num_forced: int = 0) -> None:
    """The row of sequence 1 produced these."""
    batcher.settle(
        pb.StepResult(
            step_id=step.step_id,
            sequence_ids=[1],
            num_tokens=[len(token_ids)],
            num_forced=[num_forced] if num_forced else [],
            token_ids=token_ids,
            logprobs=[-0.5] * len(token_ids),
        )
    )


@pytest.mark.parametrize(
    ("fields", "limits", "expected"),
    [
        ({}, {}, pb.Forcing(max_tokens=8, num_spare_slots=1)),
        ({}, {"max_steps_in_flight": 1}, pb.Forcing(max_tokens=8)),
        ({}, {"max_forced_tokens": 0}, None),
        ({"grammar": None}, {}, None),
        ({"wants_logits": True}, {}, None),
    ],
)
def test_who_is_asked_to_force(
    fields: dict[str, Any], limits: dict[str, Any], expected: pb.Forcing | None
) -> None:
    batcher = a_batcher(block_size=8, **limits)
    batcher.add(a_forced(**fields))
    (joining,) = send(batcher).joining
    assert (joining.forcing if joining.HasField("forcing") else None) == expected


def test_a_longer_row_moves_what_is_computed_and_what_is_scheduled() -> None:
    batcher, sequence = a_batcher(block_size=8), a_forced()
    batcher.add(sequence)
    first, second = send(batcher), send(batcher)
    settle(batcher, first, 50)
    assert (sequence.num_computed, sequence.num_scheduled) == (3, 4)
    third = send(batcher)
    settle(batcher, second, 51, 52, 53, 54, num_forced=3)
    assert list(sequence.token_ids) == [0, 1, 2, 50, 51, 52, 53, 54]
    assert (sequence.num_computed, sequence.num_scheduled) == (7, 8)
    fourth = send(batcher)
    assert not fourth.HasField("rows"), "each goes on with one more token, as before"
    settle(batcher, third, 55)
    assert (sequence.num_computed, sequence.num_scheduled) == (8, 9)
    assert batcher.counters.num_forced_tokens == 3
    assert batcher.counters.num_tokens == 6


def test_a_block_can_be_found_once_the_longer_row_filled_it() -> None:
    """And is found by the tokens that this row brought."""
    batcher, sequence = a_batcher(block_size=4), a_forced()
    batcher.add(sequence)
    steps = [send(batcher), send(batcher)]
    settle(batcher, steps[0], 50)
    assert sequence.num_published == 0
    settle(batcher, steps[1], 51, 52, 53, 54, 55, num_forced=4)
    assert sequence.num_computed == 8
    assert sequence.num_published == 2
    follower = a_forced()
    follower.token_ids.extend([50, 51, 52, 53, 54, 55])
    batcher.add(follower)
    joining = send(batcher).joining
    assert [each.num_cached_tokens for each in joining] == [8]


def test_blocks_are_given_ahead_while_there_are_some_to_spare() -> None:
    batcher, plain = a_batcher(num_blocks=4, block_size=8), a_batcher(num_blocks=4, block_size=8)
    sequence, other = a_forced(max_new_tokens=20), a_forced(max_new_tokens=20, grammar=None)
    batcher.add(sequence)
    plain.add(other)
    for each in (batcher, plain):
        send(each)
        send(each)
    assert len(sequence.block_ids) == 2, "for eight tokens and the step behind"
    assert len(other.block_ids) == 1


def test_the_last_blocks_are_not_given_ahead() -> None:
    """A sequence that runs finds one to go on in."""
    batcher, sequence = a_batcher(num_blocks=2, block_size=8), a_forced(max_new_tokens=12)
    batcher.add(sequence)
    send(batcher)
    send(batcher)
    assert len(sequence.block_ids) == 1


def test_no_block_is_given_that_the_answer_can_never_fill() -> None:
    batcher, sequence = a_batcher(block_size=8), a_forced(max_new_tokens=6)
    batcher.add(sequence)
    send(batcher)
    send(batcher)
    assert len(sequence.block_ids) == 1


async def _read(text: str, **request: Any) -> tuple[list[Token | Finish], ScriptedLink]:
    """A stream whose every other word is forced."""
    shard = ScriptedShard(choose=spell(text))
    reply = Tokenizer(shard.facts.tokenizer_json).encode(text)

    def force(token_ids: list[int], num_prompt_tokens: int) -> int | None:
        place = len(token_ids) - num_prompt_tokens
        is_forced = place < len(text) and text[:place].count(" ") % 2
        return reply[place] if is_forced else None

    shard.force = force
    link = ScriptedLink(shard)
    generation = Generation(link)
    await generation.start()
    prompt = Prompt(token_ids=(1, 2, 3))
    fields: dict[str, Any] = {"max_new_tokens": 60, "grammar": GRAMMAR} | request
    try:
        async with generation.stream(GenerationRequest(prompt=prompt, **fields)) as answer:
            return [item async for item in answer], link
    finally:
        await generation.stop()


def finish_of(items: list[Token | Finish]) -> Finish:
    assert isinstance(items[-1], Finish)
    return items[-1]


def test_each_token_is_told_alone_and_steps_are_saved() -> None:
    text = "a chosen word and another one"
    items, link = asyncio.run(_read(text))
    assert "".join(token.text for token in items if isinstance(token, Token)) == text + "</s>"
    assert finish_of(items).num_generated_tokens == len(text) + 1
    assert finish_of(items).reason is FinishReason.EOS_TOKEN
    assert len(link.steps) < len(text) - 8


def test_a_stop_sequence_ends_an_answer_within_forced_tokens() -> None:
    items, _ = asyncio.run(_read("one forced three", stop=("orc",)))
    assert finish_of(items).generated_text == "one forc"
    assert finish_of(items).num_generated_tokens == len("one forc")
    assert finish_of(items).reason is FinishReason.STOP_SEQUENCE


def test_a_budget_ends_an_answer_within_forced_tokens() -> None:
    items, _ = asyncio.run(_read("one forced three", max_new_tokens=7))
    assert finish_of(items).generated_text == "one for"
    assert finish_of(items).reason is FinishReason.LENGTH
