"""The command line becomes options, and --quick gives way to what stands beside it."""

import pytest

from inlay_bench.options import parse_options


def test_defaults_measure_both_types() -> None:
    options = parse_options([])
    assert options.dtypes == ("bfloat16", "float32")
    assert options.stream_counts == (1, 8, 32)
    assert options.num_threads >= 1


def test_lists_are_separated_by_commas() -> None:
    options = parse_options(["--streams", "1,4", "--dtype", "float32", "--kinds", "image"])
    assert options.stream_counts == (1, 4)
    assert options.dtypes == ("float32",)
    assert options.kinds == ("image",)


def test_quick_gives_way() -> None:
    options = parse_options(["--quick", "--new-tokens", "9"])
    assert (options.num_new_tokens, options.num_rounds) == (9, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--streams", "1,0"], "is a whole number of at least 1. Given: 0"),
        (["--new-tokens", "1"], "is a whole number of at least 2. Given: 1"),
        (["--rounds", "many"], "is a whole number of at least 1. Given: many"),
        (["--dtype", "float64"], "is one of bfloat16, float32. Given: float64"),
    ],
)
def test_bad_values_are_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_options(arguments)
    assert words in capsys.readouterr().err
