"""`python -m inlay_router`: one router process in front of one replica."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
import uvloop
from sse_starlette.sse import AppStatus

from inlay_grammars.limits import CompileLimits
from inlay_grammars.pool import CompilePool
from inlay_router.app import make_app
from inlay_router.arguments import add_arguments, config_from
from inlay_router.batcher import BatchLimits
from inlay_router.config import ConfigError, RouterConfig
from inlay_router.generation import Generation
from inlay_router.links.remote import RemoteLink
from inlay_router.service import Service, serving

CONFIGURATION_ERROR = 78
"""Exit code (`EX_CONFIG`): starting again with the same settings fails the same way."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="inlay router: %(message)s")
    options = _parser().parse_args(arguments)
    config = config_from(
        options,
        shard_addresses=tuple(options.shard_addresses),
        exits_with_parent=options.exits_with_parent,
    )
    if config.exits_with_parent:
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    try:
        with (
            _listener(config, options.listen_fd) as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(_serve(config, listener))
    except ConfigError as error:
        print(f"inlay router: {error}", file=sys.stderr)
        return CONFIGURATION_ERROR
    except _CannotListen as error:
        print(f"inlay router: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inlay_router", description="The HTTP half of inlay: routes, queue, batches."
    )
    parser.add_argument(
        "--shard-address",
        dest="shard_addresses",
        action="append",
        required=True,
        metavar="ADDRESS",
        help="gRPC address of a shard, such as unix:/run/shard-0.sock; once a rank, in order",
    )
    parser.add_argument(
        "--listen-fd",
        type=int,
        metavar="N",
        help="descriptor of a listening socket to use instead of --host and --port",
    )
    parser.add_argument(
        "--exit-with-parent",
        dest="exits_with_parent",
        action="store_true",
        help="end when standard input reaches its end",
    )
    add_arguments(parser)
    return parser


class _CannotListen(Exception):
    """The address cannot be listened on; the words say why."""


def _listener(config: RouterConfig, listen_fd: int | None) -> socket.socket:
    """A bound socket. Nobody can connect to one of our own making before it listens."""
    if listen_fd is not None:
        return socket.socket(fileno=listen_fd)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise _CannotListen(
            f"cannot listen on {config.host} port {config.port}: {error.strerror}"
        ) from None
    return listener


async def _serve(config: RouterConfig, listener: socket.socket) -> None:
    """Wait for the model, then serve until a signal; running answers get time to end."""
    async with (
        _generation(config) as generation,
        _grammars(config, generation) as grammars,
        serving(config, generation, grammars) as service,
    ):
        # uvicorn raises the signals that it caught again when it is done. By then they have done
        # their work, and what is held must still be given back.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        # Streams end by themselves, or when uvicorn's grace is over.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        await _server(config, service).serve(sockets=[listener])


def _server(config: RouterConfig, service: Service) -> "_Server":
    return _Server(
        uvicorn.Config(
            make_app(service),
            http="httptools",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=round(config.graceful_timeout),
        )
    )


@asynccontextmanager
async def _generation(config: RouterConfig) -> AsyncIterator[Generation]:
    limits = BatchLimits(
        max_batch_prefill_tokens=config.max_batch_prefill_tokens,
        max_batch_size=config.max_batch_size,
        max_waiting=config.max_concurrent_requests,
    )
    generation = Generation(RemoteLink(config.shard_addresses), limits)
    try:
        await generation.start()
        yield generation
    finally:
        await generation.stop()


@asynccontextmanager
async def _grammars(
    config: RouterConfig, generation: Generation
) -> AsyncIterator[CompilePool | None]:
    if not config.has_grammars:
        yield None
        return
    facts = generation.facts
    pool = CompilePool(
        facts.tokenizer_json,
        facts.vocab_size,
        facts.eos_token_ids,
        limits=CompileLimits(seconds=config.grammar_timeout),
    )
    try:
        await pool.start()
        yield pool
    finally:
        await pool.stop()


class _Server(uvicorn.Server):
    """Says once, on standard output, that requests are answered from now on."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        try:
            await super().startup(sockets)
        except OSError as error:
            # Another process began to listen between our bind and now.
            raise _CannotListen(f"cannot listen: {error.strerror}") from None
        host, port = sockets[0].getsockname()[:2]
        print(f"inlay is ready: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def _exit_at_end_of_input() -> None:
    """The parent is gone: nobody is left to restart shards, or to wait for answers."""
    # Not through `sys.stdin`, whose lock this thread would still hold when the process ends.
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
