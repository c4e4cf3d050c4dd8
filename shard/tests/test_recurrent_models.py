"""Models with layers that keep states of sequences, held against `generate`."""

import random
from pathlib import Path

import pytest
import torch
from driver import Driver
from families.listing import classes
from families.making import make_folder
from families.recipes import RECIPES, Recipe
from local_shard import Shard, start_shard
from transformers_reference import Reference

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import ModelRefused
from inlay_shard.model.loading import quiet
from inlay_shard.proofs.side_by_side import prove_side_by_side
from inlay_shard.states.pool import Recurrent

FAMILIES = (
    "lfm2",  # convolutions
    "qwen3_5_text",  # gated delta nets, which go on by several tokens
    "jamba",  # a scan, which goes on by one token at a time
    "minimax",  # a state without a convolution
    "falcon_h1",  # both in one layer
    "mamba",  # no attention at all
)
NUM_NEW_TOKENS = 10


def make_family(name: str, folder: Path) -> Path:
    make_folder(*classes(name), RECIPES.get(name, Recipe()), folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shard, list[tuple[list[int], list[int]]]]:
    """A shard, and prompts with what `generate` answers."""
    numbers = random.Random(5)
    with quiet():
        folder = make_family(request.param, tmp_path_factory.mktemp("models") / request.param)
        shard, reference = start_shard(folder), Reference(folder)
        prompts = [[numbers.randrange(100, 300) for _ in range(n)] for n in (1, 2, 11, 37)]
        return shard, [(each, reference.generate(each, NUM_NEW_TOKENS)) for each in prompts]


Family = tuple[Shard, list[tuple[list[int], list[int]]]]


@pytest.mark.parametrize("chunk", [1 << 20, 5])
def test_rows_of_all_kinds_in_one_batch_equal_generate(family: Family, chunk: int) -> None:
    shard, known = family
    driver = Driver(shard, chunk=chunk)
    running = [driver.add(prompt, NUM_NEW_TOKENS) for prompt, _ in known]
    driver.run()
    assert [one.output_ids for one in running] == [answer for _, answer in known]


def test_how_layers_go_on_from_their_states(family: Family) -> None:
    """The scans of Mamba and Jamba leave the state aside where more than one token comes."""
    shard, _ = family
    tower = shard.ready.network.text_tower
    own = [module.__dict__.get("forward") for module in tower.modules()]
    ways = {found.layer.goes_on_by_rows for found in own if isinstance(found, Recurrent)}
    assert ways == {type(tower).__name__ not in ("JambaModel", "MambaModel")}


def test_preempted_rows_are_computed_anew(family: Family) -> None:
    shard, known = family
    driver = Driver(shard, chunk=5)
    running = [driver.add(prompt, NUM_NEW_TOKENS) for prompt, _ in known]
    for _ in range(4):
        driver.step()
    driver.preempt(running[1])
    driver.preempt(running[3])
    driver.run()
    assert [one.output_ids for one in running] == [answer for _, answer in known]


def test_no_sequence_goes_on_from_blocks_of_another(family: Family) -> None:
    shard, known = family
    assert shard.facts.is_recurrent and shard.facts.state_bytes and shard.facts.max_sequences > 1
    driver = Driver(shard)
    running = driver.add([*range(100, 140)], 2, shared=[0])
    driver.run()
    assert running.failure is not None
    assert running.failure.kind == pb.RowFailure.KIND_INTERNAL
    assert "32 tokens are cached" in running.failure.message


@pytest.fixture(scope="module")
def lfm2(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    with quiet():
        return start_shard(make_family("lfm2", tmp_path_factory.mktemp("models") / "lfm2"))


def test_a_failed_pass_leaves_the_states_of_the_others_right(lfm2: Shard) -> None:
    """A pass that fails behind layers that have gone on is computed again from the first token."""
    with quiet():
        reference = Reference(lfm2.folder)
    prompts = [[*range(100, 100 + n)] for n in (3, 9, 17)]
    driver = Driver(lfm2)
    running = [driver.add(prompt, NUM_NEW_TOKENS) for prompt in prompts]
    driver.step()
    driver.step()
    last = list(lfm2.ready.network.text_tower.layers)[-1]  # type: ignore[arg-type]
    failures = iter([True])

    def fail_once(module: object, arguments: object) -> None:
        if next(failures, False):
            raise RuntimeError("out of luck")

    handle = last.register_forward_pre_hook(fail_once)
    driver.run()
    handle.remove()
    assert next(failures, "failed") == "failed"
    assert [one.output_ids for one in running] == [
        reference.generate(prompt, NUM_NEW_TOKENS) for prompt in prompts
    ]


def test_states_that_are_mixed_up_are_refused(lfm2: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    network, engine = lfm2.ready.network, lfm2.ready.engine
    pool = engine._pool
    prove_side_by_side(network, pool, 24)
    assert pool.states is not None
    lay_out = pool.states.lay_out
    monkeypatch.setattr(
        pool.states, "lay_out", lambda rows: lay_out([row._replace(slot=0) for row in rows])
    )
    with pytest.raises(ModelRefused, match="does not compute what transformers computes"):
        prove_side_by_side(network, pool, 24)


def test_slots_are_free_again_behind_sequences_that_end(lfm2: Shard) -> None:
    driver = Driver(lfm2)
    for number in range(lfm2.facts.max_sequences + 10):
        driver.add([100 + number % 100], 1)
        if number % 50 == 49:
            driver.run()
    driver.run()
    assert all(running.failure is None for running in driver.sequences.values())


def test_log_probabilities_of_a_prompt_in_chunks(lfm2: Shard) -> None:
    prompt = [*range(120, 150)]
    whole, cut = (Driver(lfm2, chunk=chunk) for chunk in (1 << 20, 7))
    first = whole.add(prompt, 2, prompt_logprobs=True)
    whole.run()
    second = cut.add(prompt, 2, prompt_logprobs=True)
    cut.run()
    assert sorted(second.prompt_logprobs) == list(range(1, len(prompt)))
    values = [torch.tensor([*one.prompt_logprobs.values()]) for one in (first, second)]
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-4)
