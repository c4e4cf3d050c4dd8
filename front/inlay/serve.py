"""`inlay serve`: a model, its shards and a router behind one address."""

import argparse
import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace

from inlay import launcher, model_flags, tgi_flags
from inlay.backoff import RestartPolicy
from inlay.launcher import Command, Group, free_port
from inlay.model_folder import ModelFolder, ModelNotFound, find_model
from inlay_proto.grpc_settings import GRPC_SETTINGS
from inlay_router.flags import arguments as router_arguments
from inlay_router.flags.key_flags import KEYS

ROUTER_DELAY_SECONDS = 1.0
"""Longest pause before a router is started again: it is ready soon, and its clients wait."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `inlay serve` takes."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder, or a hub id (default: the small vision-language model that ships here)",
    )
    parser.add_argument("--model-id", metavar="MODEL", help="the same, as TGI has it")
    parser.add_argument("--revision", help="branch, tag or commit of the hub repository")
    parser.add_argument(
        "--huggingface-hub-cache",
        metavar="FOLDER",
        help="where downloaded models lie (the hub's own)",
    )
    model_flags.add_arguments(parser)
    headings = router_arguments.add_arguments(parser)
    headings[KEYS.title].add_argument(
        "--api-key",
        type=_api_key,
        metavar="KEY",
        help="what clients must show as `Authorization: Bearer KEY`",
    )
    tgi_flags.add_arguments(parser)


def _api_key(text: str) -> str:
    """Without blanks around it, which files and secrets end with and no header can carry.

    Raises ArgumentTypeError when nothing is left: who asks for a key must not serve everybody.
    """
    if not (key := text.strip()):
        raise argparse.ArgumentTypeError("must not be empty")
    return key


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    try:
        if options.huggingface_hub_cache is not None:
            os.environ["HF_HUB_CACHE"] = options.huggingface_hub_cache
        model = find_model(options.model or options.model_id, options.revision)
        listener = listen(options.host, options.port)
    except (ModelNotFound, CannotListen) as error:
        launcher.report(str(error), logging.ERROR)
        return 1
    launcher.report(f"loading {model.model_id}", logging.INFO)
    with listener, tempfile.TemporaryDirectory(prefix="inlay-") as folder:
        addresses = [f"unix:{folder}/shard-{rank}.sock" for rank in range(options.num_shard)]
        policy = RestartPolicy(max_deaths=options.max_deaths)
        replica = Group(shard_commands(options, model, addresses), policy)
        at_once = replace(policy, max_delay_seconds=ROUTER_DELAY_SECONDS)
        router = Group(router_commands(options, listener, addresses), at_once)
        return asyncio.run(launcher.run(router, replica, options.graceful_timeout))


class CannotListen(Exception):
    """The address cannot be listened on; the message says why."""


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. It outlives a router, so that connections wait while one restarts.

    Raises CannotListen.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except socket.gaierror as error:
        reason = error.strerror
    except OSError as error:
        # Its own words name the address once more.
        reason = os.strerror(error.errno) if error.errno else str(error)
    raise CannotListen(f"cannot listen on {host} port {port}: {reason}")


def shard_commands(
    options: argparse.Namespace, model: ModelFolder, addresses: Sequence[str]
) -> Callable[[], Sequence[Command]]:
    """How to start every rank of the replica; ranks meet at a new port each time."""

    def commands() -> list[Command]:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        return [
            Command(
                name=f"shard {rank}",
                module="inlay_shard",
                arguments=model_flags.to_command_line(options, model, rank, address),
                max_silent_seconds=options.step_timeout,
                environment={
                    **meeting,
                    **GRPC_SETTINGS,
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(len(addresses)),
                    "HF_HUB_OFFLINE": "1",
                    "TOKENIZERS_PARALLELISM": "false",
                },
            )
            for rank, address in enumerate(addresses)
        ]

    return commands


def router_commands(
    options: argparse.Namespace, listener: socket.socket, addresses: Sequence[str]
) -> Callable[[], Sequence[Command]]:
    """How to start the router on the listening socket."""
    arguments = ["--listen-fd", str(listener.fileno()), "--exit-with-parent"]
    for address in addresses:
        arguments += ["--shard-address", address]
    arguments += router_arguments.to_command_line(options)
    command = Command(
        name="router",
        module="inlay_router",
        arguments=tuple(arguments),
        environment=GRPC_SETTINGS
        | ({} if options.api_key is None else {"API_KEY": options.api_key}),
        inherited_fds=(listener.fileno(),),
        max_silent_seconds=options.step_timeout,
    )
    return lambda: [command]
