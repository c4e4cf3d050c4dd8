"""`inlay serve`: a model, its shards and a router behind one address."""

import argparse
import asyncio
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace

from inlay import launcher, tgi_flags
from inlay.backoff import RestartPolicy
from inlay.launcher import Command, Group, free_port
from inlay.model_folder import ModelFolder, ModelNotFound, find_model
from inlay_proto.grpc_settings import GRPC_SETTINGS
from inlay_router.flags import arguments as router_arguments

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
    shards = parser.add_argument_group("model and shards")
    shards.add_argument(
        "--num-shard", type=positive, default=1, metavar="N", help="processes to split it over (1)"
    )
    shards.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="code of a model's author: a module, or the path of a .py file; repeatable "
        "(docs/adding-a-model.md)",
    )
    shards.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="type of weights and computation (auto: as stored; float32 for small models on a CPU)",
    )
    shards.add_argument(
        "--quantize",
        type=quantization,
        metavar="int8",
        help="hold linear layers in 8 bits (one shard on a CPU; refused where it cannot be)",
    )
    shards.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where shards compute"
    )
    shards.add_argument(
        "--num-blocks", type=positive, metavar="N", help="blocks of the KV pool (from free memory)"
    )
    shards.add_argument(
        "--max-batch-total-tokens",
        type=positive,
        metavar="N",
        help="the same in tokens: N / block size blocks",
    )
    shards.add_argument(
        "--block-size", type=positive, default=32, metavar="N", help="tokens of a block (32)"
    )
    shards.add_argument(
        "--num-threads", type=positive, metavar="N", help="CPU threads of a shard (cores / shards)"
    )
    shards.add_argument(
        "--image-workers",
        type=positive,
        metavar="N",
        help="processes of a shard that prepare images (a quarter of its cores)",
    )
    shards.add_argument(
        "--image-cache-bytes",
        type=positive,
        metavar="N",
        help="memory for embeddings of images that come again (from free memory)",
    )
    shards.add_argument(
        "--max-batch-images",
        type=positive,
        default=8,
        metavar="N",
        help="images that are embedded together (8)",
    )
    shards.add_argument(
        "--max-deaths",
        type=positive,
        default=5,
        metavar="N",
        help="deaths within a minute after which the server gives up (5)",
    )
    router_arguments.add_arguments(parser)
    parser.add_argument_group("access").add_argument(
        "--api-key", metavar="KEY", help="what clients must show as `Authorization: Bearer KEY`"
    )
    tgi_flags.add_arguments(parser)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Given: {text}")
    return number


def quantization(text: str) -> str:
    """The one of TGI's ways to hold weights in fewer bits that there is here."""
    if text != "int8":
        raise argparse.ArgumentTypeError(f"must be int8, the only one that is there. Given: {text}")
    return text


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal; the exit code."""
    try:
        if options.huggingface_hub_cache is not None:
            os.environ["HF_HUB_CACHE"] = options.huggingface_hub_cache
        model = find_model(options.model or options.model_id, options.revision)
        listener = listen(options.host, options.port)
    except (ModelNotFound, CannotListen) as error:
        launcher.report(str(error))
        return 1
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
    except OSError as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror}") from error


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
                arguments=shard_arguments(options, model, rank, address),
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


def shard_arguments(
    options: argparse.Namespace, model: ModelFolder, rank: int, address: str
) -> tuple[str, ...]:
    """The command line of one rank."""
    arguments = ["--model", str(model.path), "--model-id", model.model_id, "--address", address]
    arguments += ["--rank", str(rank), "--num-shard", str(options.num_shard)]
    arguments += ["--dtype", options.dtype, "--device", options.device]
    arguments += ["--block-size", str(options.block_size), "--exit-with-parent"]
    if options.has_json_logs:
        arguments.append("--json-output")
    for plugin in options.plugin:
        arguments += ["--plugin", plugin]
    if options.quantize is not None:
        arguments += ["--quantize", options.quantize]
    if options.max_batch_prefill_tokens is not None:
        arguments += ["--max-batch-tokens", str(options.max_batch_prefill_tokens)]
    num_blocks = options.num_blocks
    if num_blocks is None and options.max_batch_total_tokens is not None:
        num_blocks = max(1, options.max_batch_total_tokens // options.block_size)
    if num_blocks is not None:
        arguments += ["--num-blocks", str(num_blocks)]
    if options.num_threads is not None:
        arguments += ["--num-threads", str(options.num_threads)]
    arguments += ["--max-batch-images", str(options.max_batch_images)]
    if options.has_grammars:
        arguments += ["--grammar-backend", options.grammar_backend]
    if options.image_workers is not None:
        arguments += ["--image-workers", str(options.image_workers)]
    if options.image_cache_bytes is not None:
        arguments += ["--image-cache-bytes", str(options.image_cache_bytes)]
    return tuple(arguments)


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
