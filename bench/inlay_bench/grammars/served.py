"""Answers of a served model to schemas, asked over HTTP with budgets down to the smallest."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch
from random_faults import judge_of
from safetensors.torch import load_file, save_file

from inlay_bench.batch import BenchFailed
from inlay_bench.grammars.answers import BUDGETS, is_valid, note
from inlay_bench.grammars.cases import Case
from inlay_bench.grammars.results import AnswerFigures, ServedResult
from inlay_bench.grammars.vocabularies import EMBEDDED, embedded_vocabulary
from inlay_bench.progress import Progress
from inlay_bench.server_side import ServerSide, start_server
from inlay_bench.stream_client import StreamFailed, ask_together
from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.spec import GrammarError, GrammarSpec

NUM_AT_ONCE = 16
MAX_PLAN = 400
"""Tokens of the shortest answer; schemas that need more take too long here."""
WEIGHT_SCALE = 0.05


@dataclass(frozen=True)
class Asked:
    """One request."""

    case: Case
    max_new_tokens: int
    seed: int


async def measure_served(
    cases: Sequence[Case], num_answers: int, folder: Path, progress: Progress
) -> list[ServedResult]:
    """The embedded model, then its random twin. Raises BenchFailed."""
    planned = list(plan_lengths(cases))
    results = []
    for name, model in (("embedded", EMBEDDED), ("random", random_twin(folder))):
        log = folder / f"grammars-{name}-server.log"
        async with start_server(model, "float32", 1, log) as server:
            budgets = []
            for budget, (more, least) in BUDGETS.items():
                asked = [
                    Asked(case, max(length + more, least), seed)
                    for seed, (case, length) in enumerate(islice(cycle(planned), num_answers))
                ]
                budgets.append(await ask_all(server, budget, asked))
                progress.advance(
                    f"served {name}, budget {budget}: {budgets[-1].num_valid} of"
                    f" {budgets[-1].num_answers} are valid"
                )
        results.append(ServedResult(model=name, num_schemas=len(planned), budgets=budgets))
    return results


def plan_lengths(cases: Sequence[Case]) -> Iterator[tuple[Case, int]]:
    """Cases that can be held, beside the tokens of the shortest answer found."""
    vocabulary = embedded_vocabulary()
    facts = (vocabulary.tokenizer_json, vocabulary.vocab_size, vocabulary.eos_token_ids)
    compiler = GrammarCompiler(*facts)
    finishing = Finishing(compiler.tokens)
    for case in cases:
        try:
            plan = finishing.first_plan(compiler.compile(GrammarSpec("json", case.schema)))
        except GrammarError:
            continue
        if plan is not None and 0 < len(plan) <= MAX_PLAN:
            yield case, len(plan)


def random_twin(folder: Path) -> Path:
    """The embedded model with random weights, made once: it tries everything."""
    twin = folder / "models" / "random-twin"
    if not (twin / "model.safetensors").exists():
        shutil.copytree(EMBEDDED, twin, dirs_exist_ok=True)
        chance = torch.Generator().manual_seed(0)
        weights = load_file(EMBEDDED / "model.safetensors")
        noise = {
            name: (WEIGHT_SCALE * torch.randn(each.shape, generator=chance)).to(each.dtype)
            for name, each in weights.items()
        }
        save_file(noise, twin / "model.safetensors", metadata={"format": "pt"})
    return twin


async def ask_all(server: ServerSide, budget: str, asked: Sequence[Asked]) -> AnswerFigures:
    """Some at a time."""
    figures = AnswerFigures(budget=budget)
    places = asyncio.Semaphore(NUM_AT_ONCE)
    start = time.perf_counter()

    async def ask_one(each: Asked) -> None:
        async with places:
            await ask(server, figures, each)

    await asyncio.gather(*(ask_one(each) for each in asked))
    figures.seconds = time.perf_counter() - start
    return figures


async def ask(server: ServerSide, figures: AnswerFigures, asked: Asked) -> None:
    """One answer, judged. Raises BenchFailed when the server does not answer."""
    parameters = {
        "grammar": {"type": "json", "value": asked.case.schema},
        "do_sample": True,
        "seed": asked.seed,
    }
    figures.num_answers += 1
    prompt = f"Answer in JSON. {asked.seed}"
    try:
        (stream,) = await ask_together(
            server.host, server.port, [prompt], asked.max_new_tokens, parameters
        )
    except StreamFailed as error:
        figures.num_broken += 1
        note(figures, f"{asked.case.name}, {asked.max_new_tokens} tokens: {error}")
        return
    except OSError as error:
        raise BenchFailed(f"the server does not answer: {error}") from error
    figures.num_tokens += len(stream.token_ids)
    if is_valid(judge_of(json.loads(asked.case.schema)), stream.text):
        figures.num_valid += 1
    elif len(stream.token_ids) >= asked.max_new_tokens:
        figures.num_cut += 1
        note(figures, f"{asked.case.name}, {asked.max_new_tokens} tokens: cut: {stream.text}")
    else:
        figures.num_invalid += 1
        note(figures, f"{asked.case.name}: {stream.text}")
