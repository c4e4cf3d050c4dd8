"""Collections of schemas are read in both forms, and a sample is always the same."""

import json
from pathlib import Path

import pytest

from inlay_bench.batch import BenchFailed
from inlay_bench.grammars.cases import COMMITTED, read_collection, sample, write_instance

TESTS = [{"data": {"a": "é"}, "valid": True}, {"data": [1, 2], "valid": False}]


def test_both_forms_are_read(tmp_path: Path) -> None:
    (tmp_path / "Github---one.json").write_text(json.dumps({"schema": {"b": 1}, "tests": TESTS}))
    (tmp_path / "list.json").write_text(json.dumps([{"schema": True, "tests": []}, {"other": 1}]))
    first, second = read_collection(tmp_path)
    assert (first.name, first.group, first.schema) == ("Github---one/0", "Github", '{"b": 1}')
    assert first.instances == ('{"a": "é"}', "[1, 2]")
    assert first.are_valid == (True, False)
    assert (second.name, second.group, second.instances) == ("list/0", tmp_path.name, ())


def test_a_folder_without_schemas_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="no JSON schema is in"):
        read_collection(tmp_path)


def test_what_is_no_unicode_text_is_written_with_escapes() -> None:
    assert write_instance("\ud800") == r'"\ud800"'
    assert write_instance("é") == '"é"'


def test_the_committed_sample_has_its_licence_and_instances_of_both_kinds() -> None:
    cases = read_collection(COMMITTED)
    assert "Permission is hereby granted" in (COMMITTED / "LICENSE").read_text()
    assert len(cases) > 300
    assert {valid for case in cases for valid in case.are_valid} == {True, False}
    assert [case.name for case in sample(cases, 5)] == [case.name for case in sample(cases, 9)[:5]]
