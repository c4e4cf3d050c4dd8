import argparse
from ipaddress import ip_network
from pathlib import Path

import pytest

from inlay_router.config import RouterConfig
from inlay_router.flags.arguments import add_arguments, config_from, to_command_line


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_without_flags_the_defaults_of_the_config_hold() -> None:
    assert config_from(parse(), shard_addresses=("a",)) == RouterConfig(shard_addresses=("a",))


def test_flags_survive_being_written_and_parsed_again() -> None:
    options = parse(
        "--port=0",
        "--max-total-tokens=99",
        "--image-timeout=2.5",
        "--keep-alive-timeout=9.5",
        "--no-prefix-cache",
        "--allow-private-images",
        "--disable-grammar-support",
        "--json-output",
        "--chat-markdown-images",
        "--plain-prompts",
        "--allowed-image-hosts=.example.org",
        "--allowed-image-networks=10.1.0.0/16",
        "--allowed-image-networks=fd00::/8",
        "--allowed-local-images=/pictures",
        "--cors-allow-origin=https://a.example",
        "--cors-allow-origin=https://b.example",
    )
    config = config_from(options, shard_addresses=())
    assert config.port == 0
    assert config.max_total_tokens == 99
    assert config.image_timeout == 2.5
    assert config.keep_alive_timeout == 9.5
    assert not config.has_prefix_cache
    assert config.has_private_images
    assert not config.has_grammars
    assert config.has_json_logs
    assert config.has_chat_markdown_images
    assert config.has_plain_prompts
    assert config.allowed_image_hosts == (".example.org",)
    assert config.allowed_image_networks == (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert config.allowed_local_images == Path("/pictures")
    assert config.cors_allow_origins == ("https://a.example", "https://b.example")
    assert config_from(parse(*to_command_line(options)), shard_addresses=()) == config


@pytest.mark.parametrize(
    ("flag", "value", "limit"),
    [
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "http", "a whole number from 0 to 65535"),
        ("max-best-of", "0", "a whole number of at least 1"),
        ("max-batch-size", "1.5", "a whole number of at least 1"),
        ("max-images", "-1", "a whole number of at least 0"),
        ("max-time", "0", "a number of seconds, more than 0"),
        ("step-timeout", "-1", "a number of seconds, at least 0"),
        ("image-timeout", "nan", "a number of seconds, at least 0"),
        ("allowed-image-networks", "10.1.2.3/16", "a network such as 10.1.0.0/16"),
    ],
)
def test_a_wrong_value_is_told_with_the_flag_and_the_limit(
    capsys: pytest.CaptureFixture[str], flag: str, value: str, limit: str
) -> None:
    with pytest.raises(SystemExit):
        parse(f"--{flag}={value}")
    words = capsys.readouterr().err.splitlines()[-1]
    assert f"argument --{flag}" in words
    assert f"must be {limit}" in words
    assert words.endswith(f"Given: {value}")


def test_none_is_a_choice_where_it_has_a_meaning() -> None:
    words = ("--port=0", "--max-images=0", "--max-stop-sequences=0", "--image-timeout=0")
    config = config_from(parse(*words), shard_addresses=())
    assert (config.port, config.max_images, config.max_stop_sequences) == (0, 0, 0)
    assert config.image_timeout == 0
