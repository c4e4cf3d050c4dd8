"""Attention whose temperature follows positions gets those of each sequence, not of the batch."""

from pathlib import Path

import pytest
import torch
from driver import Driver
from families.listing import classes
from families.making import make_folder
from families.recipes import Recipe
from local_shard import start_shard
from transformers_reference import Reference

from inlay_shard.model.loading import quiet
from inlay_shard.model.temperature import TruePositions

STEEP = Recipe(config={"floor_scale": 2, "attn_scale": 4.0, "no_rope_layers": [1, 0]})
"""The temperature changes every other token, in the second layer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "llama4"
    with quiet():
        make_folder(*classes("llama4_text"), STEEP, folder)
    return folder


def test_what_is_added_to_a_tokens_index_gives_its_position() -> None:
    positions = torch.tensor([7, 0, 1, 2, 40])
    ahead = TruePositions(positions).get_seq_length()
    assert (torch.arange(5) + ahead).tolist() == positions.tolist()


@pytest.mark.parametrize("chunk", [5, 512])
def test_a_mixed_batch_equals_generate(folder: Path, chunk: int) -> None:
    with quiet():
        driver, reference = Driver(start_shard(folder), chunk=chunk), Reference(folder)
    prompts = [list(range(10, 10 + length)) for length in (30, 7, 19)]
    running = [driver.add(prompt, max_new_tokens=10) for prompt in prompts]
    driver.run()
    for prompt, sequence in zip(prompts, running, strict=True):
        assert sequence.output_ids == reference.generate(prompt, 10)
