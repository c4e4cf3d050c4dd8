"""`python -m inlay_router`: one router process in front of one replica."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import uvicorn
import uvloop

from inlay_proto.heartbeat import beating
from inlay_router.app import make_app
from inlay_router.assembly import compiling, generating
from inlay_router.batching import capacity
from inlay_router.batching.pace import default_prefill_tokens
from inlay_router.config import ConfigError, RouterConfig, check
from inlay_router.doors.api_keys import ApiKeys
from inlay_router.doors.connection import ConnectionLimits, HttpConfig
from inlay_router.doors.slow_readers import drop_slow_readers
from inlay_router.doors.tls import Certificate, certificate_of
from inlay_router.flags.arguments import add_arguments, config_from
from inlay_router.flags.shard_flags import add_arguments as add_shard_arguments
from inlay_router.flags.shard_flags import shard_settings
from inlay_router.links.remote import RemoteLink
from inlay_router.service import Service, serving
from inlay_router.sse import DirectSend
from inlay_router.telemetry.logs import json_line, set_up_logging

_log = logging.getLogger("inlay.router")

CONFIGURATION_ERROR = 78
"""Exit code (`EX_CONFIG`): starting again with the same settings fails the same way."""
_COLLECTOR_THRESHOLDS = (50_000, 20, 20)
"""New objects before Python looks for cycles among them, and how often it looks further back."""
_LAST_SECONDS = 1
"""What is left for last bytes once calls have ended, or have been ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns the exit code."""
    options = _parser().parse_args(arguments)
    set_up_logging("inlay router", is_json=options.has_json_logs)
    if options.exits_with_parent:
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    try:
        config = _config(options)
        certificate = certificate_of(config)
        _check_before_loading(config)
        with (
            _listener(config, options.listen_fd) as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            drop_slow_readers(listener)
            runner.run(_serve(config, listener, certificate))
    except ConfigError as error:
        _log.error("%s", error)
        return CONFIGURATION_ERROR
    except _CannotListen as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _config(options: argparse.Namespace) -> RouterConfig:
    return config_from(
        options,
        **shard_settings(options),
        exits_with_parent=options.exits_with_parent,
        api_key=os.environ.get("API_KEY") or None,  # not a flag, which other users could read
    )


def _check_before_loading(config: RouterConfig) -> None:
    """Raises ConfigError for what would end the server once the model is there, minutes later."""
    check(config)
    if config.asks_for_key:
        ApiKeys(config.api_key, config.api_key_file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inlay_router", description="The HTTP half of inlay: routes, queue, batches."
    )
    add_shard_arguments(parser)
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


async def _serve(
    config: RouterConfig, listener: socket.socket, certificate: Certificate | None
) -> None:
    """Wait for the model, then serve until a signal; running answers get time to end."""
    async with (
        beating(),
        generating(config, RemoteLink(config.shard_addresses, config.shard_tls)) as generation,
        compiling(config, generation) as grammars,
        serving(config, generation, grammars) as service,
    ):
        # uvicorn raises the signals that it caught again when it is done. By then they have done
        # their work, and what is held must still be given back.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _calm_collector()
        _announce(config, service)
        await _server(service, certificate).serve(sockets=[listener])


def _announce(config: RouterConfig, service: Service) -> None:
    """Say on standard error which limits follow from the model and the machine."""
    facts = service.facts
    words = capacity.in_words(
        facts,
        max_total_tokens=service.limits.max_total_tokens,
        max_prefill_tokens=config.max_batch_prefill_tokens or default_prefill_tokens(facts.device),
    )
    line = json_line(words) if config.has_json_logs else f"inlay router: {words}"
    print(line, file=sys.stderr, flush=True)


def _calm_collector() -> None:
    """What is here by now stays: leave it out, and look for cycles in what is new less often.

    Tokens and results make none.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


def _server(service: Service, certificate: Certificate | None) -> "_Server":
    context = None if certificate is None else certificate.context()
    return _Server(
        HttpConfig(
            DirectSend(make_app(service)),
            ConnectionLimits(max_connections=service.config.max_connections),
            ssl_context_factory=None if context is None else lambda *_: context,
            ws="none",
            lifespan="off",
            log_level="error",  # its warnings are of what clients send, who could fill the log
            access_log=False,
            server_header=False,
            log_config=None,
            timeout_keep_alive=service.config.keep_alive_timeout,
            timeout_graceful_shutdown=_LAST_SECONDS,
        ),
        service,
    )


class _Server(uvicorn.Server):
    """Says on standard output that requests are answered from now on, and leaves as asked: the
    first signal lets running calls end, the second ends them with an error."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._is_hurried = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        try:
            await super().startup(sockets)
        except OSError as error:
            # Another process began to listen between our bind and now.
            raise _CannotListen(f"cannot listen: {error.strerror}") from None
        host, port = sockets[0].getsockname()[:2]
        scheme = "http" if self.config.ssl is None else "https"
        words = f"inlay is ready: {scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        print(json_line(words) if self._service.config.has_json_logs else words, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal."""
        if self.should_exit:
            self._loop.call_soon_threadsafe(self._is_hurried.set)
        # To uvicorn a second SIGINT means to cut connections, unfinished words and all.
        super().handle_exit(signal.SIGTERM, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse calls, wait for those that run, end what is left; then listen no more."""
        departure = self._service.departure
        departure.begin()
        waits = [asyncio.create_task(w) for w in (departure.complete(), self._is_hurried.wait())]
        timeout = self._service.config.graceful_timeout
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not waits[0].done():
            await self._service.generation.stop()
        for wait in waits:
            wait.cancel()
        await super().shutdown(sockets)


def _exit_at_end_of_input() -> None:
    """The parent is gone: nobody is left to restart shards, or to wait for answers."""
    # Not through `sys.stdin`, whose lock this thread would still hold when the process ends.
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
