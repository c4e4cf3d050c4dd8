"""TGI's flags and variables."""

import argparse
import re
from pathlib import Path

import pytest

from inlay import cli, model_flags, serve, tgi_flags
from inlay.model_folder import ModelFolder
from inlay_router.flags.arguments import config_from
from inlay_shard.config import parse_arguments

MODEL = ModelFolder(model_id="m", path=Path("folder"))


def parse(*typed: str, **environment: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args([*tgi_flags.from_environment(environment, typed), *typed])


def test_variables_stand_for_flags() -> None:
    options = parse(
        MODEL_ID="org/model",
        NUM_SHARD="2",
        REVISION="v1",
        DTYPE="float16",
        HOSTNAME="0.0.0.0",
        PORT="80",
        MAX_CONCURRENT_REQUESTS="9",
        MAX_BEST_OF="3",
        MAX_STOP_SEQUENCES="5",
        MAX_TOP_N_TOKENS="7",
        MAX_CLIENT_BATCH_SIZE="8",
        MAX_INPUT_LENGTH="100",
        MAX_TOTAL_TOKENS="200",
        MAX_BATCH_PREFILL_TOKENS="64",
        MAX_BATCH_SIZE="4",
        PAYLOAD_LIMIT="1000",
        MAX_IMAGE_FETCH_SIZE="500",
        CORS_ALLOW_ORIGIN="https://a.example",
        GRACEFUL_TERMINATION_TIMEOUT="3",
        DISABLE_GRAMMAR_SUPPORT="true",
        JSON_OUTPUT="1",
    )
    assert (options.model_id, options.revision) == ("org/model", "v1")
    assert (options.num_shard, options.dtype) == (2, "float16")
    config = config_from(options, shard_addresses=())
    assert (config.host, config.port) == ("0.0.0.0", 80)
    assert (config.max_concurrent_requests, config.max_best_of) == (9, 3)
    assert (config.max_stop_sequences, config.max_top_n_tokens) == (5, 7)
    assert config.max_client_batch_size == 8
    assert (config.max_input_tokens, config.max_total_tokens) == (100, 200)
    assert (config.max_batch_prefill_tokens, config.max_batch_size) == (64, 4)
    assert (config.payload_limit, config.max_image_bytes) == (1000, 500)
    assert config.cors_allow_origins == ("https://a.example",)
    assert config.graceful_timeout == 3
    assert not config.has_grammars
    assert config.has_json_logs


def test_a_flag_wins_over_its_variable() -> None:
    options = parse(
        "--max-total-tokens=5",
        "--host=::1",
        "--cors-allow-origin=https://typed.example",
        MAX_TOTAL_TOKENS="9",
        HOSTNAME="10.0.0.1",
        CORS_ALLOW_ORIGIN="https://variable.example",
    )
    assert options.max_total_tokens == 5
    assert options.host == "::1"
    assert options.cors_allow_origins == ["https://typed.example"]


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_switch_may_be_set_to_off(value: str) -> None:
    assert parse(DISABLE_GRAMMAR_SUPPORT=value).has_grammars


def test_the_name_of_a_container_is_no_address() -> None:
    assert parse(HOSTNAME="pod-7f").host == parse().host


def test_tokens_of_the_pool_become_blocks() -> None:
    options = parse("--block-size=32", MAX_BATCH_TOTAL_TOKENS="320")
    arguments = model_flags.to_command_line(options, MODEL, 0, "unix:a")
    assert arguments[arguments.index("--num-blocks") + 1] == "10"


def test_the_backend_of_grammars_is_made_where_there_are_grammars() -> None:
    arguments = model_flags.to_command_line(
        parse("--grammar-backend=outlines_core"), MODEL, 0, "unix:a"
    )
    assert arguments[arguments.index("--grammar-backend") + 1] == "outlines_core"
    without = model_flags.to_command_line(parse(DISABLE_GRAMMAR_SUPPORT="true"), MODEL, 0, "unix:a")
    assert "--grammar-backend" not in without


def test_int8_is_handed_on_and_other_quantizations_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = model_flags.to_command_line(parse(QUANTIZE="int8"), MODEL, 0, "unix:a")
    assert arguments[arguments.index("--quantize") + 1] == "int8"
    assert "--quantize" not in model_flags.to_command_line(parse(), MODEL, 0, "unix:a")
    with pytest.raises(SystemExit):
        parse(QUANTIZE="awq")
    assert "--quantize: must be int8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "handed"),
    [("8, 1,4,4", "1,4,8"), ("0", "0"), (None, "1,2,4,8,16,32")],
    ids=["sizes", "none", "unset"],
)
def test_sizes_of_graphs_are_handed_on(given: str | None, handed: str) -> None:
    options = parse() if given is None else parse(CUDA_GRAPHS=given)
    arguments = model_flags.to_command_line(options, MODEL, 0, "unix:a")
    assert arguments[arguments.index("--cuda-graphs") + 1] == handed
    assert parse_arguments(arguments).cuda_graphs == options.cuda_graphs


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("1,x", "must be 0, or numbers of rows from 1 with commas between them. Given: 1,x"),
        ("1,0", "must be 0, or numbers of rows"),
        ("", "must be 0, or numbers of rows"),
        ("1,5000", "at most 64 numbers of at most 1024 rows. Given: 2, up to 5000"),
        (",".join(map(str, range(1, 66))), "Given: 65, up to 65"),
    ],
)
def test_sizes_of_graphs_that_cannot_be_are_refused(
    given: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(f"--cuda-graphs={given}")
    assert words in capsys.readouterr().err.replace("\n", " ")


def test_the_key_stays_out_of_the_command_line() -> None:
    with serve.listen("127.0.0.1", 0) as listener:
        (command,) = serve.router_commands(parse(API_KEY="s3cret"), listener, ["unix:a"])()
    assert command.environment["API_KEY"] == "s3cret"
    assert "s3cret" not in " ".join(command.arguments)


@pytest.mark.parametrize("flag", tgi_flags.MEANINGLESS, ids=lambda flag: flag.name)
def test_what_has_no_meaning_says_so_in_a_line(flag: tgi_flags.Meaningless) -> None:
    typed = f"--{flag.name}=1" if flag.has_value else f"--{flag.name}"
    assert list(tgi_flags.ignored(parse(typed), {})) == [f"--{flag.name} is ignored: {flag.reason}"]
    variable = tgi_flags.variable_of(flag.name)
    assert list(tgi_flags.ignored(parse(), {variable: "1"})) == [
        f"{variable} is ignored: {flag.reason}"
    ]


def test_the_command_says_what_it_ignores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"SPECULATE": "3", "MODEL_ID": str(tmp_path), "PORT": "0"}
    assert cli.main(["serve"], environment) == 1
    said = capsys.readouterr().err
    assert "SPECULATE is ignored: tokens are not guessed ahead" in said
    assert "holds no config.json" in said


def test_a_variable_that_cannot_be_used_is_an_error_with_its_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve"], {"NUM_SHARD": "many"})
    assert "--num-shard" in capsys.readouterr().err


def test_a_refusal_says_which_flags_are_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve"], {"PORT": "http", "API_KEY": "secret"})
    said = capsys.readouterr().err
    assert said.endswith("from the environment: PORT, API_KEY\n")
    assert "secret" not in said
    with pytest.raises(SystemExit):
        cli.main(["serve", "--port=http"], {})
    assert "from the environment" not in capsys.readouterr().err


@pytest.mark.parametrize("key", ["", "  ", "\n"])
def test_who_asks_for_a_key_does_not_serve_everybody(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--api-key", key], {})
    assert ended.value.code == 2
    assert "--api-key: must not be empty" in capsys.readouterr().err


def test_a_key_loses_the_newline_that_files_and_secrets_end_with() -> None:
    assert parse(API_KEY="key\n").api_key == "key"


def test_help_has_few_headings_and_hides_what_has_no_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out
    assert len(re.findall(r"^\S.*:$", shown, re.MULTILINE)) < 12
    assert "--speculate" not in shown
    (keys,) = re.findall(r"^keys and TLS:\n(.*?)\n\n", shown + "\n\n", re.MULTILINE | re.DOTALL)
    assert "--api-key KEY" in keys and "--api-key-file FILE" in keys


def test_the_machine_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--env"], {}) == 0
    said = capsys.readouterr().out
    assert "transformers: " in said
    assert "python: 3." in said
