"""The model that the bench makes, at a small size, answered by `generate` in its own process."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inlay_bench.batch import Batch
from inlay_bench.bench_model import make_model
from inlay_bench.generate_side import start_generate
from inlay_bench.prompts import Prompt, make_prompts
from inlay_bench.shape import BENCH_SHAPE, TextShape

SHAPE = replace(
    BENCH_SHAPE,
    text=TextShape(
        num_layers=2,
        hidden_size=48,
        intermediate_size=96,
        num_heads=3,
        num_kv_heads=1,
        head_size=16,
        vocab_size=20_400,
    ),
    vision=replace(
        BENCH_SHAPE.vision, num_layers=1, hidden_size=32, intermediate_size=64, num_heads=2
    ),
)
NUM_IMAGE_TOKENS = SHAPE.vision.num_image_tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the bench's kind."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("bench") / "model"
    make_model(path, SHAPE)
    return path


def answer(folder: Path, *batches: list[Prompt]) -> list[Batch]:
    """What `generate` answers to each batch, twelve tokens each."""

    async def run() -> list[Batch]:
        async with start_generate(folder, "float32", num_threads=1) as side:
            speed = await side.measure_machine()
            assert speed.bytes_per_second > 0
            return [await side.answer(prompts, 12) for prompts in batches]

    return asyncio.run(run())


def test_answers_depend_on_picture_and_text_and_have_the_length_asked_for(
    folder: Path,
) -> None:
    first, second = make_prompts("image", 2, 100, NUM_IMAGE_TOKENS, "seed")
    other_picture = replace(first, picture=second.picture)
    other_text = replace(first, text=second.text)
    (batch,) = answer(folder, [first, other_picture, other_text])
    batch.check(num_streams=3, num_new_tokens=12)
    assert len(set(batch.token_ids)) == 3
    assert 0 < batch.first_token_seconds[0] < batch.last_token_seconds[0]


def test_a_prompt_is_answered_the_same_alone_and_in_a_batch(folder: Path) -> None:
    prompts = make_prompts("text", 3, 20, NUM_IMAGE_TOKENS, "seed")
    together, alone = answer(folder, prompts, prompts[1:2])
    assert together.token_ids[1] == alone.token_ids[0]
    assert together.texts[1] == alone.texts[0]


def test_the_weights_of_a_step_are_counted() -> None:
    attention = 48 * 48 + 48 * 16 + 48 * 16 + 48 * 48
    layer = attention + 3 * 48 * 96 + 2 * 48
    assert SHAPE.text.num_decode_weights == 2 * layer + 48 + 48 * 20_400
