"""Drives the shard's engine in this process, with steps as the router would send them."""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.stream import Load, Prompt, Stream
from inlay_proto import generate_pb2 as pb
from inlay_shard.config import ShardConfig
from inlay_shard.images.features import FeatureCache
from inlay_shard.startup import start
from inlay_shard.steps.engine import Engine
from inlay_shard.steps.worker import StepThread

STEP_TOKENS = 512
"""Prompt tokens that one step computes, as the router's default."""
MAX_STEPS_IN_FLIGHT = 2
BLOCK_SIZE = 32


@dataclass(frozen=True)
class Plan:
    """One step before it is a message: who joins, and how many tokens each computes."""

    joining_ids: list[int]
    rows: dict[int, int]


class SteppedEngine:
    """Hands steps to a thread that runs an engine; two are under way, as behind the router.

    Nobody else may hand it steps meanwhile.
    """

    def __init__(self, thread: StepThread, first_id: int = 1) -> None:
        """Sequences are named from `first_id` on."""
        self._thread = thread
        self._results: queue.SimpleQueue[pb.StepResult | BaseException] = queue.SimpleQueue()
        self._step_id = 0
        self._last_id = first_id - 1

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine; blocks for prompt and answer are given at once."""
        streams = {self._last_id + 1 + place: Stream() for place in range(len(prompts))}
        asked = dict(zip(streams, prompts, strict=True))
        self._last_id += len(prompts)
        lengths = {key: len(prompt.token_ids) for key, prompt in asked.items()}
        num_in_flight = 0
        for plan in plans(lengths, num_new_tokens):
            step = self._message(plan, asked, num_new_tokens)
            self._thread.submit(step, self._results.put)
            num_in_flight += 1
            if num_in_flight == MAX_STEPS_IN_FLIGHT:
                take(self._receive(), streams)
                num_in_flight -= 1
        for _ in range(num_in_flight):
            take(self._receive(), streams)
        return list(streams.values())

    def _message(self, plan: Plan, asked: dict[int, Prompt], num_new_tokens: int) -> pb.Step:
        self._step_id += 1
        step = pb.Step(step_id=self._step_id)
        for key in plan.joining_ids:
            token_ids = asked[key].token_ids
            step.joining.add(
                sequence_id=key,
                token_ids=token_ids,
                num_prompt_tokens=len(token_ids),
                max_new_tokens=num_new_tokens,
            )
            num_blocks = -(-(len(token_ids) + num_new_tokens) // BLOCK_SIZE)
            first = (key - min(asked)) * num_blocks
            step.growths.add(sequence_id=key, block_ids=range(first, first + num_blocks))
        step.rows.sequence_ids.extend(plan.rows)
        step.rows.num_tokens.extend(plan.rows.values())
        return step

    def _receive(self) -> pb.StepResult:
        result = self._results.get()
        if isinstance(result, BaseException):
            raise result
        if result.failures:
            raise RuntimeError(result.failures[0].message)
        return result

    def close(self) -> None:
        """See Engine."""


class InlayEngine(SteppedEngine):
    """An engine of its own, loaded for this."""

    def __init__(self, load: Load) -> None:
        torch.set_num_threads(load.num_threads)
        self._config = ShardConfig(
            model=load.folder,
            model_id="bench",
            address="",
            dtype=load.dtype,  # type: ignore[arg-type]  # one of the names that it lists
            num_threads=load.num_threads,
            block_size=BLOCK_SIZE,
            num_blocks=load.num_cache_tokens // BLOCK_SIZE,
        )
        self._is_loaded = threading.Event()
        super().__init__(StepThread(self._load, lambda failure: self._results.put(failure)))
        self._thread.start()
        while not self._is_loaded.wait(0.1):
            if not self._results.empty():
                self._receive()

    def _load(self) -> Engine:
        torch.set_num_threads(self._config.num_threads or 1)
        ready = start(self._config, FeatureCache(), lambda: False, print)
        self._is_loaded.set()
        return ready.engine


def plans(lengths: dict[int, int], num_new_tokens: int) -> Iterator[Plan]:
    """Steps for prompts of these lengths: who has its prompt decodes, the rest shares the budget.

    A prompt's last row chooses a token already, so that it decodes one step less.
    """
    left = dict(lengths)
    num_rows_left = dict.fromkeys(lengths, num_new_tokens - 1)
    while any(left.values()) or any(num_rows_left.values()):
        budget = STEP_TOKENS
        joining_ids, rows = [], {}
        for key in lengths:
            if left[key] == 0 and num_rows_left[key]:
                rows[key] = 1
                num_rows_left[key] -= 1
            elif left[key] and budget:
                if left[key] == lengths[key]:
                    joining_ids.append(key)
                rows[key] = min(left[key], budget)
                left[key] -= rows[key]
                budget -= rows[key]
        yield Plan(joining_ids, rows)


def take(result: pb.StepResult, streams: dict[int, Stream]) -> None:
    """Hand a result's tokens to their streams."""
    now = time.perf_counter()
    place = 0
    for key, num_tokens in zip(result.sequence_ids, result.num_tokens, strict=True):
        streams[key].take(result.token_ids[place : place + num_tokens], now)
        place += num_tokens


if __name__ == "__main__":
    serve(InlayEngine)
