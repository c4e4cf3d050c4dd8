"""Steps that the crew begins by itself: answers are those of `generate`, whoever comes and goes."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from driver import Driver
from local_shard import Shard, start_shard
from tiny_models import make_tiny
from transformers_reference import Reference

from inlay_kernels.decoder import StandingBatch
from inlay_proto import generate_pb2 as pb


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(params=[1, 2], ids=lambda count: f"{count} threads")
def shard(request: pytest.FixtureRequest, folder: Path) -> Iterator[Shard]:
    shard = start_shard(folder)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield shard
    torch.set_num_threads(before)


@pytest.fixture
def gone_on(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each step might go on, as they come."""
    asked: list[bool] = []
    rated = StandingBatch.rated

    def noted(batch: StandingBatch, *, goes_on: bool = False) -> object:
        asked.append(goes_on)
        return rated(batch, goes_on=goes_on)

    monkeypatch.setattr(StandingBatch, "rated", noted)
    return asked


@pytest.mark.parametrize("num_ahead", [0, 40])
def test_rows_that_come_end_and_are_taken_away(
    shard: Shard, folder: Path, gone_on: list[bool], num_ahead: int
) -> None:
    """num_ahead: 0, and no row that enters a block can go on; 40, and all can."""
    reference, numbers = Reference(folder), random.Random(7)
    driver = Driver(shard, num_ahead=num_ahead)
    asked = []
    for _ in range(12):
        prompt = [numbers.randrange(10, 260) for _ in range(numbers.choice([2, 30, 60]))]
        running = driver.add(prompt, numbers.choice([5, 40]))
        asked.append(running)
        for _ in range(numbers.randrange(8)):
            driver.step()
        if not running.is_over and numbers.random() < 0.3:
            driver.preempt(running)
    driver.run()
    for running in asked:
        message = running.message
        prompt = list(message.token_ids[: message.num_prompt_tokens])
        assert running.output_ids == reference.generate(prompt, message.max_new_tokens)
    assert any(gone_on) and not all(gone_on)


@pytest.mark.parametrize(
    "others",
    [
        {"sampling": pb.Sampling(do_sample=True, seed=3)},
        {"sampling": pb.Sampling(repetition_penalty=1.3)},
        {"top_n_tokens": 2},
        {"logits": True},
    ],
)
def test_rows_that_want_more_than_the_likeliest_are_waited_for(
    shard: Shard, gone_on: list[bool], others: dict[str, Any]
) -> None:
    alone, crowd = Driver(shard), Driver(shard, num_ahead=40)
    expected = alone.add([40, 50, 60], 20, **others)
    alone.run()
    gone_on.clear()
    found = crowd.add([40, 50, 60], 20, **others)
    crowd.add([70, 80], 20)
    crowd.run()
    assert found.output_ids == expected.output_ids
    assert not any(gone_on[:19])


def test_likeliest_rows_have_the_logprobs_that_they_have_beside_others(shard: Shard) -> None:
    """Whether a step goes on changes no bit."""
    alone, crowd = Driver(shard, num_ahead=40), Driver(shard)
    expected = alone.add([40, 50, 60], 20)
    alone.run()
    found = crowd.add([40, 50, 60], 20)
    crowd.add([70, 80], 20, sampling=pb.Sampling(do_sample=True, seed=3))
    crowd.run()
    assert found.output_ids == expected.output_ids
    assert found.logprobs == expected.logprobs
