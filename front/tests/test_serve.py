import argparse
import json
import re
import socket
from pathlib import Path

import pytest

from inlay import cli, serve
from inlay.model_folder import EMBEDDED_MODEL, ModelFolder, ModelNotFound, find_model


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(words)


def test_every_rank_learns_its_place_and_all_meet_at_one_port() -> None:
    model = ModelFolder(model_id="m", path=Path("folder"))
    commands = serve.shard_commands(parse("--num-shard=2"), model, ["unix:a", "unix:b"])()
    assert [command.environment["RANK"] for command in commands] == ["0", "1"]
    assert len({command.environment["MASTER_PORT"] for command in commands}) == 1
    assert [c.arguments[c.arguments.index("--address") + 1] for c in commands] == [
        "unix:a",
        "unix:b",
    ]


def test_the_router_is_told_the_limits_and_the_socket() -> None:
    with serve.listen("127.0.0.1", 0) as listener:
        options = parse("--max-total-tokens=77")
        (command,) = serve.router_commands(options, listener, ["unix:a"])()
        assert command.inherited_fds == (listener.fileno(),)
        words = list(command.arguments)
        assert words[words.index("--max-total-tokens") + 1] == "77"


def test_a_port_in_use_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 1
    words = capsys.readouterr().err
    assert words == f"inlay: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_folder_without_a_model_is_said_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", str(tmp_path), "--port", "0"]) == 1
    assert "holds no config.json" in capsys.readouterr().err


def test_a_file_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    with pytest.raises(ModelNotFound, match="model.gguf is a file; a model is a folder"):
        find_model(str(file), None)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("serve --num-shards=2", "inlay serve: error: .* --num-shards=2 .is it --num-shard?"),
        ("serve --enforce-eager", "inlay serve: error: unrecognized arguments: --enforce-eager$"),
        ("ask --schemas=x Why?", "inlay ask: error: .* --schemas=x .is it --schema?"),
        ("--verbose", "inlay: error: unrecognized arguments: --verbose$"),
    ],
)
def test_an_unknown_flag_is_told_by_its_command_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str], typed: str, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(typed.split())
    assert ended.value.code == 2
    assert re.search(words, capsys.readouterr().err.strip())


def test_no_model_means_the_embedded_one() -> None:
    assert find_model(None, None).path == EMBEDDED_MODEL
    assert (EMBEDDED_MODEL / "config.json").is_file()


def test_a_missing_folder_is_not_looked_up_on_the_hub() -> None:
    with pytest.raises(ModelNotFound, match="there is no folder ./nowhere"):
        find_model("./nowhere", None)


@pytest.mark.parametrize(
    ("variables", "token"),
    [
        ({}, None),
        ({"HUGGING_FACE_HUB_TOKEN": "a"}, "a"),
        ({"HUGGING_FACE_HUB_TOKEN": "", "HF_API_TOKEN": "b"}, "b"),
        ({"HF_TOKEN": "c", "HF_API_TOKEN": "b"}, None),  # the hub's library reads it by itself
    ],
)
def test_the_hub_gets_the_token_by_any_name_that_tgi_knows(
    variables: dict[str, str],
    token: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    def download(repository: str, **options: object) -> str:
        given.append(options["token"])
        return str(tmp_path)

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert find_model("org/model", None).path == tmp_path
    assert given == [token]


def test_a_log_says_how_bad_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(tmp_path), "--port=0", "--json-output"], {}) == 1
    assert json.loads(capsys.readouterr().err)["level"] == "ERROR"


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out
    assert "--num-shard" in shown
    assert "--max-total-tokens" in shown
