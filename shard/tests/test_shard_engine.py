"""What a step promises, on a tiny Llama in this process."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from driver import BLOCK_SIZE, Driver
from local_shard import Shard, start_shard
from tiny_models import make_tiny
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.model.network import Rated

PROMPT = list(range(30, 50))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def shard(folder: Path) -> Shard:
    return start_shard(folder)


@pytest.fixture
def driver(shard: Shard) -> Driver:
    shard.ready.engine.reset()
    return Driver(shard)


def join(sequence_id: int, block_ids: list[int], **others: object) -> pb.Step:
    """A step in which one sequence joins and prefills."""
    fields: dict[str, Any] = {"token_ids": PROMPT, "max_new_tokens": 8} | others
    sequence = pb.Sequence(
        sequence_id=sequence_id,
        num_prompt_tokens=len(PROMPT),
        **fields,
    )
    return pb.Step(
        step_id=1,
        joining=[sequence],
        growths=[pb.BlockGrowth(sequence_id=sequence_id, block_ids=block_ids)],
        rows=pb.Rows(sequence_ids=[sequence_id], num_tokens=[len(sequence.token_ids)]),
    )


def test_blocks_used_again_tell_nothing_of_their_past(shard: Shard, folder: Path) -> None:
    """Another sequence in the same blocks at once; a third in blocks full of huge numbers."""
    engine = shard.ready.engine
    engine.reset()
    expected = Reference(folder).generate(PROMPT, 1)
    engine.run(join(1, [7, 3, 9], token_ids=[99] * 20))
    again = join(2, [7, 3, 9])
    again.leaving_ids.append(1)
    assert list(engine.run(again).token_ids) == expected
    tower: Any = shard.ready.network.text_tower
    for layer in tower.layers:
        attention = layer.self_attn.inlay_attention
        attention.key_cache[[7, 3, 9]] = 1e30
        attention.value_cache[[7, 3, 9]] = 1e30
    assert list(engine.run(join(3, [9, 7, 3])).token_ids) == expected


def test_unset_rows_are_those_of_the_step_before(shard: Shard) -> None:
    engine = shard.ready.engine
    engine.reset()
    engine.run(join(4, [0, 1, 2, 3]))
    for step_id in range(2, 6):
        result = engine.run(pb.Step(step_id=step_id))
        assert list(result.sequence_ids) == [4]
        assert len(result.token_ids) == 1


def test_a_sequence_that_ended_is_skipped(shard: Shard) -> None:
    engine = shard.ready.engine
    engine.reset()
    result = engine.run(join(5, [0, 1, 2, 3], max_new_tokens=1))
    assert [(e.sequence_id, e.reason) for e in result.endings] == [(5, pb.END_REASON_LENGTH)]
    assert not engine.run(pb.Step(step_id=2)).sequence_ids


def test_end_token_ends(shard: Shard) -> None:
    """A grammar that allows the empty answer alone makes the model choose the end token."""
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="a?")
    driver = Driver(shard)
    running = driver.add(PROMPT, grammar=grammar)
    driver.run()
    assert running.ending == pb.END_REASON_EOS_TOKEN
    assert running.output_ids[-1] == 1


def test_complete_grammar_adds_the_end_token_at_once(driver: Driver) -> None:
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="abc")
    running = driver.add(PROMPT, grammar=grammar, top_n_tokens=2)
    neighbour = driver.add(PROMPT)
    for _ in range(3):
        result = driver.step()
    assert dict(zip(result.sequence_ids, result.num_tokens, strict=True)) == {1: 2, 2: 1}
    assert running.ending == pb.END_REASON_EOS_TOKEN
    assert running.output_ids[-1] == 1
    assert running.logprobs[-1] == 0.0
    assert len(running.top_tokens) == 2 * 4
    assert running.top_tokens[-2] == (1, 0.0)
    assert math.isfinite(running.top_tokens[-1][1])
    assert not neighbour.is_over


def test_complete_grammar_without_room_has_no_end_token(driver: Driver) -> None:
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="abc")
    running = driver.add(PROMPT, 3, grammar=grammar)
    driver.run()
    assert len(running.output_ids) == 3
    assert running.ending == pb.END_REASON_EOS_TOKEN


def test_resumed_under_a_grammar(driver: Driver) -> None:
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="[a-z]{6}")
    alone = driver.add(PROMPT, grammar=grammar)
    driver.run()
    resumed = driver.add(PROMPT, grammar=grammar)
    for _ in range(3):
        driver.step()
    driver.preempt(resumed)
    driver.run()
    assert resumed.output_ids == alone.output_ids


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"features_key": b"gone"}, pb.RowFailure.KIND_FEATURES_MISSING),
        (
            {"grammar": pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="(")},
            pb.RowFailure.KIND_INVALID,
        ),
        (
            {"grammar": pb.Grammar(kind=pb.Grammar.KIND_JSON, value="{")},
            pb.RowFailure.KIND_INVALID,
        ),
    ],
)
def test_a_row_that_cannot_join_fails_alone(
    driver: Driver, folder: Path, fields: dict[str, Any], kind: int
) -> None:
    neighbour = driver.add(PROMPT)
    failing = driver.add(PROMPT, **fields)
    driver.run()
    assert failing.failure is not None
    assert failing.failure.kind == kind
    assert failing.failure.message
    assert neighbour.output_ids == Reference(folder).generate(PROMPT)


def test_unknown_token_id_fails_alone(driver: Driver, folder: Path) -> None:
    neighbour = driver.add(PROMPT)
    failing = driver.add([5, 320])
    driver.run()
    assert failing.failure is not None
    assert "320" in failing.failure.message
    assert neighbour.output_ids == Reference(folder).generate(PROMPT)


def test_too_few_blocks_fail_alone(shard: Shard) -> None:
    engine = shard.ready.engine
    engine.reset()
    failure = engine.run(join(6, [0], token_ids=[5] * (BLOCK_SIZE + 1))).failures[0]
    assert failure.kind == pb.RowFailure.KIND_INTERNAL
    assert f"{BLOCK_SIZE + 1} tokens do not fit into {BLOCK_SIZE} slots" in failure.message
    outside = engine.run(join(7, [0, 256])).failures[0]
    assert "a block id is not below 256" in outside.message


def test_row_that_breaks_the_model_is_found(
    driver: Driver, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model fails whenever one token is in its batch; four neighbours go on."""
    told: list[Exception] = []
    monkeypatch.setattr(driver.shard.ready.engine, "on_row_failure", told.append)  # type: ignore[attr-defined]
    network = driver.shard.ready.network  # type: ignore[attr-defined]
    intact = network.rated

    def fragile(token_ids: torch.Tensor, *others: object) -> Rated:
        if 200 in token_ids.tolist()[:60]:
            raise RuntimeError("out of luck")
        rated: Rated = intact(token_ids, *others)
        return rated

    monkeypatch.setattr(network, "rated", fragile)
    prompts = [[40 + n, 41, 42] for n in range(4)]
    neighbours = [driver.add(prompt, 3) for prompt in prompts]
    failing = driver.add([200, 41], 3)
    driver.run()
    assert failing.failure is not None
    assert failing.failure.kind == pb.RowFailure.KIND_INTERNAL
    assert "out of luck" in failing.failure.message
    assert list(map(str, told)) == ["out of luck"]
    reference = Reference(folder)
    assert [one.output_ids for one in neighbours] == [reference.generate(p, 3) for p in prompts]


@pytest.mark.parametrize("chunk", [1 << 20, 6])
def test_logprobs(shard: Shard, folder: Path, chunk: int) -> None:
    """Of the prompt, of the answer, and of the most likely tokens, against a plain forward."""
    driver = Driver(shard, chunk=chunk)
    running = driver.add(PROMPT, 4, prompt_logprobs=True, top_n_tokens=3)
    driver.add(PROMPT[:9], 4)
    driver.run()
    token_ids = torch.tensor([PROMPT + running.output_ids])
    with torch.inference_mode():
        logits = Reference(folder).model(input_ids=token_ids).logits[0]
    expected = logits.log_softmax(-1)[:-1].gather(1, token_ids[0, 1:, None]).squeeze(1).tolist()
    num_prompt = len(PROMPT)
    assert sorted(running.prompt_logprobs) == list(range(1, num_prompt))
    found = [running.prompt_logprobs[position] for position in range(1, num_prompt)]
    assert found + running.logprobs == pytest.approx(expected, abs=1e-4)
    best = logits[num_prompt - 1 : -1].log_softmax(-1).topk(3)
    assert [token_id for token_id, _ in running.top_tokens] == best.indices.flatten().tolist()
    values = best.values.flatten().tolist()
    assert [value for _, value in running.top_tokens] == pytest.approx(values, abs=1e-4)


def test_sampled_text_is_the_same_alone_and_in_a_crowd(driver: Driver) -> None:
    """Token for token, among 31 others of many lengths."""
    sampling = pb.Sampling(do_sample=True, temperature=1.3, top_p=0.95, seed=77)
    alone = driver.add(PROMPT, sampling=sampling)
    driver.run()
    others = [pb.Sampling(do_sample=n % 2 == 0, seed=n) for n in range(31)]
    crowd = [
        driver.add([60 + n] * (1 + n % 7), sampling=other, max_new_tokens=5 + n % 9)
        for n, other in enumerate(others)
    ]
    again = driver.add(PROMPT, sampling=sampling)
    driver.run()
    assert all(one.failure is None for one in crowd)
    assert again.output_ids == alone.output_ids
    assert again.logprobs == pytest.approx(alone.logprobs, abs=1e-5)


def test_timings_are_told(driver: Driver) -> None:
    driver.add(PROMPT)
    timings = driver.step().timings
    assert timings.forward > 0
    assert timings.sample > 0


def test_masks_of_a_crowd_are_those_of_each_alone(driver: Driver) -> None:
    """Few masks are filled behind the model and many beside it."""
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="[a-f]{3,20}")
    prompts = [[60 + n] * (n + 1) for n in range(6)]
    answers = []
    for prompt in prompts:
        alone = driver.add(prompt, grammar=grammar)
        driver.run()
        answers.append(alone.output_ids)
    crowd = [driver.add(prompt, grammar=grammar) for prompt in prompts]
    free = driver.add(PROMPT)
    driver.run()
    assert [one.output_ids for one in crowd] == answers
    assert free.failure is None
