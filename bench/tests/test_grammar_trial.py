"""A schema is tried in a process that may die, and what became of it is added up."""

import os
import signal

import numpy as np
import pytest
from numpy.typing import NDArray

from inlay_bench.grammars import trial
from inlay_bench.grammars.cases import make_case
from inlay_bench.grammars.results import CollectionResult, GrammarsResult, write_page
from inlay_bench.grammars.tally import Tally, at, kind_of
from inlay_bench.grammars.trial import Question, Trial, try_out
from inlay_bench.grammars.walkers import Refused

END = 33


class ScriptedWalker:
    """Takes a schema for the text that it allows: token by token, and then the end."""

    def __init__(self) -> None:
        self.words: NDArray[np.uint32] = np.zeros(2, np.uint32)

    def compile(self, schema: str) -> None:
        match schema:
            case "refuse":
                raise Refused("`not` is not known")
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "grow":
                raise MemoryError
            case "hang":
                signal.pause()
        self._text = [int(each) for each in schema.split()]

    def start(self) -> None:
        self._place = 0

    def fill(self) -> None:
        self.words[:] = 0
        token_id = self._text[self._place] if self._place < len(self._text) else END
        self.words[token_id // 32] = np.uint32(1 << token_id % 32)

    def consume(self, token_id: int) -> None:
        self._place += 1


def ask(schema: str, *instances: list[int]) -> Trial:
    """Of a scripted backend."""
    question = Question(schema=schema, instances=list(instances), eos_token_ids=[END])
    return try_out(ScriptedWalker(), question)


def test_instances_are_followed_to_their_end() -> None:
    told = ask("1 2 40", [1, 2, 40], [1, 2], [1, 3], [1, 2, 40, 5])
    assert told.outcome == "held"
    assert told.accepted == [True, False, False, False]
    assert len(told.mask_us) == 4 + 3 + 2 + 4


def test_what_is_refused_or_dies_is_told_apart() -> None:
    assert ask("refuse", [1]).reason == "`not` is not known"
    assert [ask(each, [1]).outcome for each in ("refuse", "crash", "grow")] == [
        "refused",
        "crash",
        "memory",
    ]


def test_what_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "COMPILE_SECONDS", 0.05)
    assert ask("hang", [1]) == Trial(outcome="time", reason="too slow while it was compiled")


def test_a_tally_says_who_is_right_and_who_is_not() -> None:
    case = make_case("one", "some", {}, [(1, True), (2, True), (3, False), (4, False)])
    tally = Tally("inlay")
    tally.add(case, Trial(outcome="held", accepted=[True, True, False, False], compile_ms=2.0))
    tally.add(case, Trial(outcome="held", accepted=[True, False, False, True], mask_us=[5.0]))
    tally.add(case, Trial(outcome="refused", reason="Unknown format: iri"))
    figures = tally.figures()
    assert (figures.num_schemas, figures.num_passing, figures.reasons) == (3, 1, {"iri": 1})
    assert (figures.num_valid_accepted, figures.num_valid) == (3, 4)
    assert (figures.num_invalid_accepted, figures.num_invalid, figures.under) == (1, 4, ["one"])
    assert at(figures.compile_ms, 1.0) == 2.0
    page = write_page(
        GrammarsResult(
            when="today",
            machine="a machine",
            vocabulary="small",
            vocab_size=34,
            versions={},
            collections=[CollectionResult(name="some", num_schemas=3, sides=[figures])],
        )
    )
    assert "1 (33.3%)" in page and "3/4" in page and "iri 1" in page


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("`oneOf` at `/a/oneOf` of the JSON schema cannot be enforced", "oneOf"),
        ('Unimplemented keys: ["not"]', "not"),
        ("Unknown format: iri", "iri"),
        ("", "no reason given"),
        ("too large: 12 states", "too large: …"),
    ],
)
def test_reasons_lose_what_is_particular(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind
