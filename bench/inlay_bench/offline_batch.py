"""Measures a batch through `LLM.generate` against the same steps handed to its engine directly.

Both on one loaded model: two copies of the same weights may differ by 3 % for where they lie.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import msgspec
from tokenizers import Tokenizer

from inlay import LLM, SamplingParams
from inlay.offline.embedded_link import EmbeddedLink
from inlay_bench.adapters.inlay_engine import BLOCK_SIZE, SteppedEngine
from inlay_bench.adapters.stream import Prompt
from inlay_bench.batch import BenchFailed
from inlay_bench.pairs import goal_line, median_ratio
from inlay_bench.peers.models import MODELS, model_in_form
from inlay_bench.peers.workload import Words
from inlay_bench.rounds import in_turn, rounds
from inlay_bench.run_options import read_options
from inlay_bench.saved import describe_machine, now
from inlay_bench.serving.verb import run_blocking_bench

BAR = 0.98
"""Tokens/s of `LLM.generate` over those of the engine; at least this is the goal."""
DTYPE = "bfloat16"
NUM_PROMPT_TOKENS = 32
NUM_NEW_TOKENS = 64
NUM_WARM_UP_TOKENS = 4
_BLOCKS_A_PROMPT = -(-(NUM_PROMPT_TOKENS + NUM_NEW_TOKENS) // BLOCK_SIZE)
_FIRST_ID = 1 << 40
"""Of sequences that the router knows nothing of."""


@dataclass(frozen=True, kw_only=True)
class OfflineOptions:
    """One run."""

    batch_sizes: tuple[int, ...] = (8, 32, 128)
    num_rounds: int = 5
    minutes: float = 4.0
    num_threads: int = 2
    folder: Path = Path(".bench")


class OfflinePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One size of a batch: tokens/s of each round, over all of a call."""

    batch_size: int
    engine: list[float]
    """Steps handed to the engine directly, as fast as it takes them."""
    llm: list[float]
    """`LLM.generate` with the same prompts."""

    @property
    def ratio(self) -> float:
        """Of `LLM.generate` to the engine."""
        return median_ratio(self.llm, self.engine)


class OfflineResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    num_threads: int
    points: list[OfflinePoint]


@dataclass(frozen=True)
class Sides:
    """Both, on one model in this process; one is at work at a time."""

    engine: SteppedEngine
    llm: LLM
    words: Words

    def rate(self, prompts: Sequence[Prompt], num_new_tokens: int, *, is_llm: bool) -> float:
        """Tokens/s of one batch, its prefill included. Raises BenchFailed."""
        begun = time.perf_counter()
        answer = self._llm_tokens if is_llm else self._engine_tokens
        answers = answer(prompts, num_new_tokens)
        seconds = time.perf_counter() - begun
        if [len(token_ids) for token_ids in answers] != [num_new_tokens] * len(prompts):
            raise BenchFailed(f"not every answer has {num_new_tokens} tokens")
        return len(prompts) * num_new_tokens / seconds

    def _llm_tokens(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Sequence[int]]:
        params = SamplingParams(temperature=0, max_tokens=num_new_tokens)
        outputs = self.llm.generate(
            [{"prompt_token_ids": prompt.token_ids} for prompt in prompts], params, use_tqdm=False
        )
        return [output.outputs[0].token_ids for output in outputs]

    def _engine_tokens(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Sequence[int]]:
        streams = self.engine.generate(prompts, num_new_tokens)
        return [stream.token_ids for stream in streams]


@contextmanager
def loaded(options: OfflineOptions) -> Iterator[Sides]:
    """The model, with room for the largest batch."""
    folder = model_in_form(MODELS["smol"], "safetensors", options.folder)
    largest = max(options.batch_sizes)
    words = Words(Tokenizer.from_file(str(folder / "tokenizer.json")))
    with LLM(
        str(folder),
        dtype=DTYPE,
        num_threads=options.num_threads,
        num_gpu_blocks_override=(largest + 1) * _BLOCKS_A_PROMPT,
        max_num_seqs=largest,
    ) as llm:
        link = llm._engine.service.generation._link
        assert isinstance(link, EmbeddedLink)
        yield Sides(SteppedEngine(link._shard.steps, _FIRST_ID), llm, words)


def measure(options: OfflineOptions) -> OfflineResult:
    """Rounds of both in turn, until the time is spent. Raises BenchFailed."""
    points = [OfflinePoint(batch_size=size, engine=[], llm=[]) for size in options.batch_sizes]
    with loaded(options) as sides:
        for point in points:
            for is_llm in (False, True):
                prompts = _prompts(sides, point, f"warm-up, {is_llm}")
                sides.rate(prompts, NUM_WARM_UP_TOKENS, is_llm=is_llm)
        for index in rounds(options.num_rounds, options.minutes):
            for point in points:
                _run_pair(sides, point, index)
                print(f"round {index + 1}: {describe(point)}", file=sys.stderr, flush=True)
    return OfflineResult(
        when=now(), machine=describe_machine(), num_threads=options.num_threads, points=points
    )


def _run_pair(sides: Sides, point: OfflinePoint, index: int) -> None:
    """Both on the same prompts, who comes first in turn; neither has seen them before."""
    prompts = _prompts(sides, point, f"round {index}")
    for is_llm in in_turn(index):
        reached = sides.rate(prompts, NUM_NEW_TOKENS, is_llm=is_llm)
        (point.llm if is_llm else point.engine).append(reached)


def _prompts(sides: Sides, point: OfflinePoint, moment: str) -> list[Prompt]:
    random = Random(f"{moment}, {point.batch_size}")
    return [sides.words.prompt(random, NUM_PROMPT_TOKENS) for _ in range(point.batch_size)]


def describe(point: OfflinePoint) -> str:
    """What is known so far in a few words."""
    ours, bare = median(point.llm), median(point.engine)
    return (
        f"{point.batch_size:4} prompts: LLM.generate {ours:.1f} tokens/s,"
        f" the engine {bare:.1f}: {point.ratio:.3f}"
    )


def write_page(result: OfflineResult) -> str:
    """The table for people."""
    lines = ["tokens/s of a whole batch, prefill included, in one process"]
    lines += [f"  {describe(point)}" for point in result.points]
    return "\n".join([*lines, goal_line((point.ratio for point in result.points), BAR)])


def parse_options(argv: Sequence[str] | None = None) -> OfflineOptions:
    """The options of a command line."""
    words = "What the offline API costs."
    return read_options(OfflineOptions, "inlay_bench.offline_batch", words, argv, num_rounds=1)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_blocking_bench("offline", lambda: measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
