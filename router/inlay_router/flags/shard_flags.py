"""The flags that say where shards are, and what passes between them and the router."""

import argparse
from pathlib import Path
from typing import Any

from inlay_proto.transport import TransportRefused, check_address, tls_files
from inlay_router.config import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--shard-address` and its company."""
    parser.add_argument(
        "--shard-address",
        dest="shard_addresses",
        action="append",
        required=True,
        metavar="ADDRESS",
        help="gRPC address of a shard, such as unix:/run/shard-0.sock; once a rank, in order",
    )
    group = parser.add_argument_group("shards on other machines")
    words = {
        "cert": "PEM file of the certificate that the router shows to shards",
        "key": "PEM file of its key",
        "ca": "PEM file of the authority that signs the shards' certificates",
    }
    for name, text in words.items():
        group.add_argument(f"--shard-tls-{name}", type=Path, metavar="FILE", help=text)
    group.add_argument(
        "--allow-plain-tcp",
        action="store_true",
        help="speak to them without TLS: who reaches them, or the wire, reads and writes all",
    )


def shard_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of RouterConfig. Raises ConfigError."""
    try:
        tls = tls_files(options.shard_tls_cert, options.shard_tls_key, options.shard_tls_ca)
        for address in options.shard_addresses:
            check_address(address, tls, allows_plain_tcp=options.allow_plain_tcp)
        if tls is not None:
            tls.read()
    except TransportRefused as refusal:
        raise ConfigError(
            f"{refusal} (--shard-tls-cert, --shard-tls-key and --shard-tls-ca, or "
            "--allow-plain-tcp)"
        ) from None
    return {"shard_addresses": tuple(options.shard_addresses), "shard_tls": tls}
