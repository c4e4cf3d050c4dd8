"""`python -m inlay_shard`: one shard."""

import os
import sys

from inlay_shard.config import parse_arguments


def main() -> None:
    """Serve until told to leave. Does not wait for a step that still runs."""
    config = parse_arguments()
    import asyncio

    from inlay_shard.server import serve

    exit_code = asyncio.run(serve(config))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
