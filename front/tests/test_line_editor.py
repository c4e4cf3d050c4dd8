from pathlib import Path

import pytest

from inlay.terminal.line_editor import completions


def test_commands_and_files_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    (tmp_path / "pile.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert completions("/im", ("/image", "/json")) == ["/image "]
    assert completions("pi", ()) == ["pictures/", "pile.txt"]
    assert completions("pictures/", ()) == ["pictures/a.png"]
    assert completions(str(tmp_path / "pil"), ("/image",)) == [str(tmp_path / "pile.txt")]
    assert completions("nothing", ("/image",)) == []
