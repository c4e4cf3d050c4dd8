"""docs/adding-a-model.md: its code is run, its two models are served and equal their `generate`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from driver import Driver
from harness import Server, serve
from local_shard import start_shard
from PIL import Image
from transformers_reference import Reference

from inlay import LLM, SamplingParams
from inlay_shard.model.plugins import load_plugins

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-model.md"
BLOCK = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
NUM_TOKENS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and the models that they make."""
    folder = tmp_path_factory.mktemp("page")
    for code, name in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        (folder / name).write_text(code, encoding="utf-8")
    # It makes the other as well: it takes the tokenizer from there.
    subprocess.run(
        [sys.executable, "make_postcard.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def plugins(folder: Path) -> tuple[str, ...]:
    """As `--plugin` names them."""
    return tuple(str(folder / name) for name in ("haiku.py", "postcard.py"))


def test_the_text_model_is_served(folder: Path, plugins: tuple[str, ...]) -> None:
    shard = start_shard(folder / "haiku-model", plugins=plugins)
    reference = Reference(folder / "haiku-model")
    driver = Driver(shard, chunk=7)
    prompts = [list(b"an old silent pond"), list(b"a frog"), list(b"splash!")]
    running = [driver.add(prompt, 24) for prompt in prompts]
    driver.run()
    answers = [reference.generate(prompt, 24) for prompt in prompts]
    assert [one.output_ids for one in running] == answers
    assert len({tuple(answer) for answer in answers}) == 3


def test_it_is_split_over_two_shards(folder: Path, plugins: tuple[str, ...]) -> None:
    load_plugins(plugins)
    reference = Reference(folder / "haiku-model")
    prompts = [list(b"an old silent pond"), list(b"a frog")]
    model = str(folder / "haiku-model")
    with LLM(model, tensor_parallel_size=2, dtype="float32", num_threads=1, plugins=plugins) as llm:
        outputs = llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            SamplingParams(temperature=0, max_tokens=24),
            use_tqdm=False,
        )
    answers = [list(output.outputs[0].token_ids) for output in outputs]
    assert answers == [reference.generate(prompt, 24) for prompt in prompts]


@dataclass
class Page:
    """The page's server and its functions."""

    url: str
    check: ModuleType


@pytest.fixture(scope="module")
def page(folder: Path, plugins: tuple[str, ...]) -> Iterator[Page]:
    load_plugins(plugins)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        check = ModuleType("check")
        exec((folder / "check.py").read_text(encoding="utf-8"), check.__dict__)
        arguments = [word for plugin in plugins for word in ("--plugin", plugin)]
        server: Server
        with serve("postcard-model", "--dtype", "float32", *arguments) as server:
            yield Page(server.url, check)


def gradient(*colors: str, width: int, height: int) -> Image.Image:
    """A picture of stripes."""
    picture = Image.new("RGB", (len(colors), 1))
    for place, color in enumerate(colors):
        picture.paste(color, (place, 0, place + 1, 1))
    return picture.resize((width, height))


SEA = gradient("navy", "blue", "white", width=96, height=40)
WOOD = gradient("green", "brown", "black", "yellow", width=50, height=60)
PROMPTS = (
    ["Where was ", SEA, " and where ", WOOD, "?"],
    ["Where was ", WOOD, " and where ", SEA, "?"],
    [SEA, WOOD, " which is wider?"],
    ["a text behind it ", SEA],
)


def test_two_pictures_in_a_batch_are_answered_as_by_generate(page: Page) -> None:
    expected = [page.check.own_answer(pieces, NUM_TOKENS) for pieces in PROMPTS]
    with ThreadPoolExecutor(len(PROMPTS)) as threads:
        asked = [
            threads.submit(page.check.served_answer, page.url, pieces, NUM_TOKENS)
            for pieces in PROMPTS
        ]
        assert [one.result()[0] for one in asked] == expected
    assert len(set(map(tuple, expected))) == len(PROMPTS)


def test_the_prefix_cache_knows_its_pictures(page: Page) -> None:
    long = ["Once upon a time ", SEA, " there was ", WOOD, " and it was told that "]
    expected = page.check.own_answer(long, NUM_TOKENS)
    first, _ = page.check.served_answer(page.url, long, NUM_TOKENS)
    again, num_cached = page.check.served_answer(page.url, long, NUM_TOKENS)
    assert first == again == expected
    assert num_cached >= 32
    swapped = [WOOD if piece is SEA else SEA if piece is WOOD else piece for piece in long]
    answer, _ = page.check.served_answer(page.url, swapped, NUM_TOKENS)
    assert answer == page.check.own_answer(swapped, NUM_TOKENS)


def test_its_text_tower_is_split_and_its_pictures_are_not(
    folder: Path, plugins: tuple[str, ...], page: Page
) -> None:
    expected = page.check.own_answer(PROMPTS[0], NUM_TOKENS)
    prompt = "".join(piece if isinstance(piece, str) else "<image>" for piece in PROMPTS[0])
    model = str(folder / "postcard-model")
    with LLM(model, tensor_parallel_size=2, dtype="float32", num_threads=1, plugins=plugins) as llm:
        (output,) = llm.generate(
            {"prompt": prompt, "multi_modal_data": {"image": [SEA, WOOD]}},
            SamplingParams(temperature=0, max_tokens=NUM_TOKENS),
            use_tqdm=False,
        )
    assert list(output.outputs[0].token_ids) == expected
