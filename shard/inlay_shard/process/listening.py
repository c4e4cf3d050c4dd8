"""Where a shard is reached: a socket file of this user's, or a port behind certificates."""

import os
from functools import partial
from pathlib import Path

import grpc

from inlay_proto.transport import check_address, server_credentials
from inlay_shard.config import ShardConfig
from inlay_shard.lines import say


def listen(server: grpc.aio.Server, config: ShardConfig) -> None:
    """Bind to the address. A socket file is for this user alone, and replaces one left behind.

    Raises TransportRefused.
    """
    address = config.address
    check_address(address, config.tls, allows_plain_tcp=config.allows_plain_tcp)
    if config.tls is not None:
        server.add_secure_port(address, server_credentials(config.tls, partial(say, config)))
    elif address.startswith("unix:"):
        _add_socket_file(server, address)
    else:
        server.add_insecure_port(address)


def _add_socket_file(server: grpc.aio.Server, address: str) -> None:
    Path(address.removeprefix("unix:")).unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(address)
    finally:
        os.umask(before)
