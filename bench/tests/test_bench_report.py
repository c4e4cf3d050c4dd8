"""The page says what was measured, in columns."""

from dataclasses import replace
from pathlib import Path

import msgspec

from inlay_bench.figures import Case, CaseFigures, less_is_better, more_is_better
from inlay_bench.floor import MachineSpeed
from inlay_bench.options import BenchOptions
from inlay_bench.report import Report
from inlay_bench.table import write_table

FIGURES = CaseFigures(
    case=Case(dtype="bfloat16", kind="text", num_streams=8),
    tokens_per_second=more_is_better([230.0, 220.0, 240.0], [115.0, 115.0, 115.0]),
    first_token_milliseconds=less_is_better([400.0], [800.0]),
    token_milliseconds=less_is_better([30.0], [60.0]),
    read_floor_milliseconds=9.2,
    multiply_floor_milliseconds=11.3,
    client_share=0.012,
    num_equal=7,
    num_compared=8,
)
SLOW = replace(
    FIGURES,
    case=Case(dtype="float32", kind="image", num_streams=32),
    tokens_per_second=more_is_better([90.0], [100.0]),
    num_equal=31,
    num_compared=32,
)
SPEED = MachineSpeed(bytes_per_second=28e9, flops_per_second=200e9)


def report(*figures: CaseFigures) -> Report:
    """A report about these cases."""
    return Report(
        options=BenchOptions(),
        speeds={each.case.dtype: SPEED for each in figures},
        num_weights=134_000_000,
        figures=figures,
    )


def test_table() -> None:
    assert write_table([FIGURES]).splitlines() == [
        "                   tokens/s                           first token, ms"
        "                    a token, ms                        floor, ms",
        "prompt    streams  inlay  generate             ratio  inlay  generate"
        "             ratio  inlay  generate             ratio  read  multiply",
        "bfloat16",
        "text            8  230.0     115.0  2.00 (1.91–2.09)    400       800"
        "  2.00 (2.00–2.00)   30.0      60.0  2.00 (2.00–2.00)   9.2      11.3",
    ]


def test_the_page_names_every_ratio_below_one_in_a_crowd() -> None:
    assert "below 1 from 8 streams on: none" in report(FIGURES).write()
    single = replace(SLOW, case=Case(dtype="float32", kind="image", num_streams=1))
    assert "below 1 from 8 streams on: none" in report(single).write()
    words = "below 1 from 8 streams on: float32, image, 32 streams (0.90 in tokens/s)"
    assert words in report(FIGURES, SLOW).write()


def test_an_unequal_answer_is_wrong_in_float32_only() -> None:
    rounded, wrong = report(FIGURES), report(SLOW)
    assert rounded.has_equal_texts
    assert "bfloat16: 7 of 8 answers equal" in rounded.write()
    assert not wrong.has_equal_texts
    assert "float32: 31 of 32 answers equal generate's, token for token: WRONG" in wrong.write()


def test_the_figures_are_saved(tmp_path: Path) -> None:
    saved = msgspec.json.decode(report(FIGURES).save(tmp_path).read_bytes())
    assert saved["figures"][0]["tokens_per_second"]["ratio"]["median"] == 2
    assert saved["options"]["num_new_tokens"] == 64
