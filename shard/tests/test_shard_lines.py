"""A shard's lines, for people and for collectors."""

import json
from pathlib import Path

import pytest

from inlay_shard.config import parse_arguments
from inlay_shard.lines import say

ARGUMENTS = ["--model", str(Path("m")), "--address", "unix:a", "--rank", "1", "--num-shard", "2"]


def test_words_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    say(parse_arguments(ARGUMENTS), "ready")
    assert capfd.readouterr().err == "shard 1: ready\n"


def test_objects_for_collectors(capfd: pytest.CaptureFixture[str]) -> None:
    say(parse_arguments([*ARGUMENTS, "--json-output"]), "a\nb", level="ERROR")
    (line,) = capfd.readouterr().err.splitlines()
    found = json.loads(line)
    assert found.pop("timestamp")
    assert found == {"level": "ERROR", "message": "a\nb", "target": "inlay_shard.1"}
