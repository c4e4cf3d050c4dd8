"""What the guides say to write instead is run."""

import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from guides import code
from harness import EXAMPLES, Server

from inlay import Pipeline, cli
from inlay.model_folder import ModelFolder
from inlay.offline.engine import OfflineEngine
from inlay.offline.engine_options import EngineOptions
from inlay.pipelines import pipeline as pipelines

ADDRESS = "http://127.0.0.1:3000"


def run_all(statements: list[str]) -> dict[str, Any]:
    """Run statements one after the other, the names that they made."""
    names: dict[str, Any] = {}
    for statement in statements:
        exec(compile(statement, statement, "exec"), names)
    return names


@pytest.fixture
def started(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[EngineOptions]:
    """The options of each engine that would be started; the one of `pipe` answers for it."""
    options: list[EngineOptions] = []

    def start(chosen: EngineOptions) -> OfflineEngine:
        chosen.shard_config(ModelFolder(model_id="m", path=EXAMPLES))
        chosen.router_config()
        options.append(chosen)
        return engine

    engine = pipe.engine
    monkeypatch.setattr(pipelines, "OfflineEngine", start)
    monkeypatch.setattr(engine, "close", lambda: None)
    monkeypatch.chdir(EXAMPLES.parent)
    return options


def test_from_lmdeploy(started: list[EngineOptions]) -> None:
    names = run_all(list(code("from-lmdeploy.md")))
    assert [options.num_shards for options in started].count(2) == 1
    assert [options.max_batch_images for options in started].count(16) == 1
    assert [bool(options.chat_template) for options in started].count(True) == 1
    assert [turn[1] for turn in names["sess"].history[:2]] == [
        "a red circle and two blue squares",
        "3",
    ]
    assert names["response"].finish_reason == "stop"


def runner(statement: str) -> Callable[[str], object] | None:
    """Who runs a line of the guide that is no Python."""
    words = shlex.split(statement)
    if "inlay" in words[:4]:
        return lambda _: parse(words)
    if words[0] == "curl":
        return lambda url: subprocess.run(
            shlex.split(statement.replace(ADDRESS, url)), capture_output=True, check=True
        )
    return None


def parse(words: list[str]) -> None:
    """As the command line reads it, with the variables in front."""
    place = words.index("inlay")
    variables = dict(word.split("=", 1) for word in words[:place])
    assert cli.parse(words[place + 1 :], variables).command == "serve"


def test_from_tgi(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    statements = []
    for statement in code("from-tgi.md"):
        run = None if "\n" in statement else runner(statement)
        if run is not None:
            run(server.url)
        else:
            statements.append(statement.replace(ADDRESS, server.url))
    assert len(statements) == 11
    run_all(statements)
