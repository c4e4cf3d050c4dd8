"""The command lines of the smaller benches."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from inlay_bench import offline_batch
from inlay_bench.serving import explosions, forced, grammar, images, router, stalls

BENCHES = [
    offline_batch.parse_options,
    explosions.parse_options,
    forced.parse_options,
    grammar.parse_options,
    images.parse_options,
    stalls.parse_options,
]

Parse = Callable[[Sequence[str] | None], Any]


@pytest.mark.parametrize("parse", BENCHES)
def test_quick_means_one_round_unless_another_number_is_given(parse: Parse) -> None:
    assert parse([]).num_rounds > 1
    assert parse(["--quick"]).num_rounds == 1
    assert parse(["--quick", "--rounds", "3"]).num_rounds == 3
    assert parse(["--threads", "4", "--folder", "there"]).folder == Path("there")


def test_the_router_is_quick_with_shorter_answers() -> None:
    assert router.parse_options(["--quick"]).max_tokens == 3000
    assert router.parse_options([]).max_tokens > 3000


def test_a_field_of_many_numbers_is_told_from_one_of_one() -> None:
    assert grammar.parse_options(["--streams", "2,4"]).stream_counts == (2, 4)
    assert explosions.parse_options(["--streams", "2"]).num_streams == 2


def test_help_says_what_holds_without_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        images.parse_options(["--help"])
    words = capsys.readouterr().out
    assert "python -m inlay_bench.serving.images" in words
    assert "(1,2,4)" in words
