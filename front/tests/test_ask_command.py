"""`inlay ask`: what is told before a model is loaded."""

from pathlib import Path

import pytest

from inlay import cli


def test_a_picture_without_a_question_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "scene.png"
    picture.touch()
    assert cli.main(["ask", str(picture)]) == 2
    assert f"there is no question behind the picture {picture}" in capsys.readouterr().err


def test_an_empty_question_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", " "]) == 1
    assert capsys.readouterr().err == "inlay ask: the question is empty\n"
