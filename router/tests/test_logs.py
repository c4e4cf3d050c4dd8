"""Log lines for people and for collectors."""

import json
import logging
from collections.abc import Iterator

import pytest

from inlay_router.telemetry.logs import json_line, set_up_logging


@pytest.fixture(autouse=True)
def same_handlers_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers = before


def test_a_person_reads_words(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("inlay router", is_json=False)
    logging.getLogger("inlay.router").warning("the replica is %s", "away")
    assert capsys.readouterr().err == "inlay router: the replica is away\n"


def test_a_collector_reads_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("inlay router", is_json=True)
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("inlay.router").exception("a stream failed")
    (line,) = capsys.readouterr().err.splitlines()
    parsed = json.loads(line)
    assert list(parsed) == ["timestamp", "level", "message", "target"]
    assert (parsed["level"], parsed["target"]) == ("ERROR", "inlay.router")
    assert parsed["message"].startswith("a stream failed\nTraceback")


def test_setting_up_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("one", is_json=False)
    set_up_logging("two", is_json=False)
    logging.getLogger("inlay").warning("hello")
    assert capsys.readouterr().err == "two: hello\n"


def test_a_line_may_be_made_without_a_logger() -> None:
    assert json.loads(json_line("ready"))["message"] == "ready"
