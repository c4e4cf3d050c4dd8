"""What a model folder says of its chat templates and special tokens."""

import shutil
from pathlib import Path

from inlay_shard.facts import read_texts

EMBEDDED = Path(__file__).parents[2] / "front/inlay/embedded_model"


def folder_with(tmp_path: Path, templates: dict[str, str]) -> Path:
    """The embedded model's texts, and more files beside them."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(EMBEDDED / name, tmp_path)
    for name, text in templates.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_one_template(tmp_path: Path) -> None:
    texts = read_texts(folder_with(tmp_path, {}))
    assert texts.chat_templates == {"default": (EMBEDDED / "chat_template.jinja").read_text()}
    assert texts.special_tokens["pad_token"] == "<pad>"


def test_named_templates(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"additional_chat_templates/tool_use.jinja": "tools!"})
    texts = read_texts(folder)
    assert texts.chat_templates["tool_use"] == "tools!"
    assert "message" in texts.chat_templates["default"]


def test_a_processors_own_template_counts_first(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"chat_template.json": '{"chat_template": "old"}'})
    (folder / "chat_template.jinja").unlink()
    assert read_texts(folder).chat_templates == {"default": "old"}
