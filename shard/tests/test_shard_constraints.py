"""Which backend compiles the grammar of a sequence, and what is found at start."""

import sys
from pathlib import Path

import pytest
from tiny_models import make_tiny

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import ModelRefused
from inlay_shard.facts import read_texts
from inlay_shard.steps.constraints import Constraints

VOCAB_SIZE = 1024


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = make_tiny("llama", tmp_path_factory.mktemp("models") / "llama")
    return read_texts(folder).tokenizer_json


@pytest.mark.parametrize(
    ("backend", "state"),
    [
        ("", "LLGuidanceState"),
        ("auto", "LLGuidanceState"),
        ("llguidance", "LLGuidanceState"),
        ("outlines_core", "OutlinesCoreState"),
    ],
)
def test_the_backend_travels_with_the_grammar(
    tokenizer_json: str, backend: str, state: str
) -> None:
    constraints = Constraints(tokenizer_json, VOCAB_SIZE, [2])
    grammar = pb.Grammar(kind=pb.Grammar.KIND_REGEX, value="[0-9]{3}", backend=backend)
    matcher, _ = constraints.follow(pb.Sequence(sequence_id=1, grammar=grammar))
    assert type(matcher.state).__name__ == state


def test_a_backend_that_is_not_there_is_refused_at_start(
    tokenizer_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inlay_grammars.backends.xgrammar", None)
    constraints = Constraints(tokenizer_json, VOCAB_SIZE, [2])
    constraints.make("auto")
    with pytest.raises(ModelRefused, match="--grammar-backend xgrammar cannot be used"):
        constraints.make("xgrammar")


def test_without_grammars_nothing_is_made(tokenizer_json: str) -> None:
    Constraints(tokenizer_json, VOCAB_SIZE, []).make("outlines_core")
