import argparse

from inlay_router.arguments import add_arguments, config_from, to_command_line
from inlay_router.config import RouterConfig


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
        "--allow-private-images",
        "--disable-grammar-support",
        "--cors-allow-origin=https://a.example",
        "--cors-allow-origin=https://b.example",
    )
    config = config_from(options, shard_addresses=())
    assert config.port == 0
    assert config.max_total_tokens == 99
    assert config.image_timeout == 2.5
    assert config.has_private_images
    assert not config.has_grammars
    assert config.cors_allow_origins == ("https://a.example", "https://b.example")
    assert config_from(parse(*to_command_line(options)), shard_addresses=()) == config
