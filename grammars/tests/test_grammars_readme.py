"""The README's example runs as it stands."""

import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

README = Path(__file__).parent.parent / "README.md"


def test_the_example_writes_what_its_regex_says(
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {})
    assert re.fullmatch(r"\d{3}-\d{4}\n", capsys.readouterr().out)
