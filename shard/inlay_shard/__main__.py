"""`python -m inlay_shard`: one shard."""

import asyncio
import os
import sys
import traceback
from typing import NoReturn

from inlay_shard.config import ShardConfig, parse_arguments
from inlay_shard.image_workers import ImageWorkers, default_num_workers
from inlay_shard.parent import ParentWatch


def main() -> NoReturn:
    """Serve until told to leave. Does not wait for a step that still runs."""
    config = parse_arguments()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    num_workers = config.num_image_workers or default_num_workers(config.num_shards)
    workers = ImageWorkers(config.model, num_workers)
    watch = ParentWatch(lambda: leave(workers, 0))
    if config.exits_with_parent:
        watch.start()
    try:
        if seems_to_see(config):
            workers.ask_takes_images()  # loads its processor while this process imports torch

        from inlay_shard.server import serve  # gRPC reads its settings when it is imported

        exit_code = asyncio.run(serve(config, workers, watch))
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


def seems_to_see(config: ShardConfig) -> bool:
    """Whether the model is likely to take images; it will be known once it is loaded."""
    path = config.model / "config.json"
    return path.is_file() and '"vision_config"' in path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
