import argparse
from ipaddress import ip_network
from pathlib import Path

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
