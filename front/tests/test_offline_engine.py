"""The engine of a program over a scripted replica: batches, streams, faults, and its end."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inlay.launcher import GaveUp
from inlay.model_folder import ModelFolder
from inlay.offline import engine as engine_module
from inlay.offline.engine import OfflineEngine
from inlay.offline.engine_options import EngineOptions
from inlay.offline.errors import EngineError, RequestFailed, RequestRefused
from inlay.offline.hosting import Hosted
from inlay.offline.requests import Controls, GenerateRequest, PromptRequest, TokensRequest
from inlay.offline.result import Result
from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted import ScriptedLink
from inlay_router.markdown import TextPiece
from inlay_router.request import Finish
from inlay_router.schemas import GenerateBody, GenerateParameters


class Stage:
    """Where an engine finds its scripted replica."""

    def __init__(self) -> None:
        self.link = ScriptedLink()
        self.failure: asyncio.Future[BaseException] | None = None
        self.fails_at_once: BaseException | None = None

    @asynccontextmanager
    async def hosted(self, options: EngineOptions, model: ModelFolder) -> AsyncIterator[Hosted]:
        self.failure = asyncio.get_running_loop().create_future()
        if self.fails_at_once is not None:
            self.failure.set_result(self.fails_at_once)
            await self.link.die()
        yield Hosted(link=self.link, config=options.router_config(), failure=self.failure)

    def fail(self, engine: OfflineEngine, reason: BaseException) -> None:
        """The replica cannot go on."""
        assert self.failure is not None
        engine._life.begin(_set(self.failure, reason)).result(30)


async def _set(failure: asyncio.Future[BaseException], reason: BaseException) -> None:
    failure.set_result(reason)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(engine_module, "hosted", stage.hosted)
    return stage


@pytest.fixture
def engine(stage: Stage) -> Iterator[OfflineEngine]:
    with OfflineEngine(EngineOptions(max_batch_size=4)) as engine:
        yield engine


def ask(
    text: str = "hello", *, max_new_tokens: int = 3, temperature: float | None = None
) -> PromptRequest:
    asked = GenerateParameters(max_new_tokens=max_new_tokens, temperature=temperature)
    return PromptRequest(pieces=[TextPiece(text)], controls=Controls(parameters=asked))


def lengths(results: list[Result]) -> list[int]:
    return [len(result.answers[0].tokens) for result in results]


def test_results_come_in_the_order_of_the_requests(engine: OfflineEngine) -> None:
    done: list[int] = []
    requests = [ask(max_new_tokens=1 + place % 3) for place in range(100)]
    results = engine.run(requests, lambda place, result: done.append(place))
    assert lengths(results) == [1 + place % 3 for place in range(100)]
    assert sorted(done) == list(range(100))
    assert engine.run([]) == []


def test_the_first_failure_ends_a_batch_and_frees_its_blocks(engine: OfflineEngine) -> None:
    with pytest.raises(RequestRefused, match="^request 2: `temperature` must be strictly"):
        engine.run([ask(), ask(), ask(temperature=-1), *[ask()] * 50])
    assert lengths(engine.run([ask()])) == [3]
    assert engine.service.generation.stats.num_blocks_used == 0


def test_tokens_that_do_not_exist_are_refused(engine: OfflineEngine) -> None:
    request = TokensRequest(token_ids=[1 << 30], controls=ask().controls)
    with pytest.raises(RequestRefused, match="^`prompt_token_ids` must be >= 0 and <"):
        engine.run([request])


def test_an_answer_ends_where_the_model_ends(engine: OfflineEngine) -> None:
    most = engine.limits.max_total_tokens
    (result,) = engine.run([ask(max_new_tokens=10 * most)])
    (generation,) = result.request.generations
    assert len(generation.prompt.token_ids) + generation.max_new_tokens == most


def test_the_body_of_generate_is_a_request(engine: OfflineEngine) -> None:
    body = GenerateBody("hello", GenerateParameters(max_new_tokens=2))
    assert lengths(engine.run([GenerateRequest(body)])) == [2]


def test_a_stream_gives_tokens_as_they_come(engine: OfflineEngine) -> None:
    with engine.stream(ask()) as stream:
        assert stream.request.inputs == "hello"
        items = [item for place, news in stream for item in news if place == 0]
    assert len(items) == 4 and isinstance(items[-1], Finish)


def test_a_stream_that_is_left_frees_its_blocks(stage: Stage, engine: OfflineEngine) -> None:
    is_left = threading.Event()

    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if len(token_ids) > num_prompt_tokens + 20:
            assert is_left.wait(30)
        return 1

    stage.link.shard.choose = choose
    with engine.stream(ask(max_new_tokens=1000)) as stream:
        next(iter(stream))
    is_left.set()
    with pytest.raises(EngineError, match="the stream is closed"):
        list(stream)
    engine.run([ask()])
    assert engine.service.generation.stats.num_blocks_used == 0


def test_a_stream_that_is_refused_says_so_twice(engine: OfflineEngine) -> None:
    stream = engine.stream(ask(temperature=-1))
    with pytest.raises(RequestRefused, match="temperature"):
        list(stream)
    with pytest.raises(RequestRefused, match="temperature"):
        _ = stream.request


def test_a_request_that_the_shard_fails_is_no_fault_of_the_caller(
    stage: Stage, engine: OfflineEngine
) -> None:
    def fail(step: pb.Step) -> pb.StepResult:
        failures = [
            pb.RowFailure(sequence_id=joining.sequence_id, kind=pb.RowFailure.KIND_INTERNAL)
            for joining in step.joining
        ]
        return pb.StepResult(step_id=step.step_id, failures=failures)

    stage.link.shard.run = fail  # type: ignore[method-assign]
    with pytest.raises(RequestFailed, match="Request failed during generation"):
        engine.run([ask()])


def test_calls_come_from_any_thread(engine: OfflineEngine) -> None:
    found: list[list[int]] = []
    calls: list[Callable[[], None]] = [
        lambda: found.append(lengths(engine.run([ask()] * 5))) for _ in range(8)
    ]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [[3] * 5] * 8


def test_an_engine_that_was_closed_says_so(engine: OfflineEngine) -> None:
    engine.close()
    engine.close()
    assert "closed" in repr(engine)
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.run([ask()])
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.stream(ask())


def test_an_engine_that_nobody_holds_ends(stage: Stage) -> None:
    engine = OfflineEngine()
    thread = engine._life._thread
    assert thread.is_alive()
    del engine
    gc.collect()
    assert not thread.is_alive()


def test_a_replica_that_fails_ends_requests_and_the_engine(
    stage: Stage, engine: OfflineEngine
) -> None:
    engine._life.begin(stage.link.pause()).result(30)
    stream = engine.stream(ask())
    stage.fail(engine, RuntimeError("out of memory"))
    with pytest.raises((EngineError, RequestFailed)):
        list(stream)
    engine._life._thread.join(30)
    with pytest.raises(EngineError, match="the engine has stopped: out of memory"):
        engine.run([ask()])


def test_a_replica_that_cannot_start_is_said_at_once(stage: Stage) -> None:
    stage.fails_at_once = RuntimeError("no such device")
    with pytest.raises(RuntimeError, match="no such device"):
        OfflineEngine()


def test_shards_that_cannot_start_are_said_in_words(stage: Stage) -> None:
    stage.fails_at_once = GaveUp("shard 0 ended with exit code 78: it cannot start as configured")
    with pytest.raises(EngineError, match="cannot serve inlay/embedded: shard 0 ended"):
        OfflineEngine(EngineOptions(num_shards=2))


def test_a_model_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no config.json"):
        OfflineEngine(EngineOptions(model=str(tmp_path)))


def test_limits_that_do_not_fit_the_model_are_said_in_words(stage: Stage) -> None:
    with pytest.raises(EngineError, match="cannot serve inlay/embedded: --max-total-tokens"):
        OfflineEngine(EngineOptions(max_total_tokens=1 << 20))
