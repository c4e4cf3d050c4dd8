"""`python -m inlay_shard`: one shard."""

import asyncio
import os
import sys
import traceback
from typing import NoReturn

import uvloop

from inlay_proto.grpc_settings import GRPC_SETTINGS
from inlay_proto.heartbeat import beat_on_thread
from inlay_shard.config import parse_arguments
from inlay_shard.images.image_workers import ImageWorkers, seems_to_see, workers_for
from inlay_shard.process.openmp_settings import OPENMP_SETTINGS
from inlay_shard.process.parent import ParentWatch


def main() -> NoReturn:
    """Serve until told to leave. Does not wait for a step that still runs."""
    beat_on_thread()  # later, the router asks whether the loop goes round
    config = parse_arguments()
    for name, value in (GRPC_SETTINGS | OPENMP_SETTINGS).items():
        os.environ.setdefault(name, value)
    workers = workers_for(config)
    watch = ParentWatch(lambda: leave(workers, 0))
    if config.exits_with_parent:
        watch.start()
    try:
        if seems_to_see(config.model):
            workers.ask_takes_images()  # loads its processor while this process imports torch

        from inlay_shard.process.server import serve  # gRPC and torch read settings when imported

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            exit_code = runner.run(serve(config, workers, watch))
    except BaseException:
        traceback.print_exc()
        exit_code = 1
    leave(workers, exit_code)


def leave(workers: ImageWorkers, exit_code: int) -> NoReturn:
    """End this process and its workers."""
    workers.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
