"""`python -m inlay_shard`: one shard."""

import asyncio
import os
import sys
import traceback

from inlay_shard.config import ShardConfig, parse_arguments
from inlay_shard.image_workers import ImageWorkers


def main() -> None:
    """Serve until told to leave. Does not wait for a step that still runs."""
    config = parse_arguments()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    workers = ImageWorkers(config.model, config.num_image_workers)
    try:
        if _seems_to_see(config):
            workers.ask_takes_images()  # loads its processor while this process imports torch

        from inlay_shard.server import serve  # gRPC reads its settings when it is imported

        exit_code = asyncio.run(serve(config, workers))
    except BaseException:
        traceback.print_exc()
        exit_code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _seems_to_see(config: ShardConfig) -> bool:
    """Whether the model is likely to take images; it will be known once it is loaded."""
    path = config.model / "config.json"
    return path.is_file() and '"vision_config"' in path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
