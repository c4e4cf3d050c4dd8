"""What a shard says to the person who runs the server: words, or JSON objects for a collector."""

import json
import sys
from datetime import UTC, datetime

from inlay_shard.config import ShardConfig


def say(config: ShardConfig, words: str, *, level: str = "INFO") -> None:
    """One line on standard error, with the keys of the router's lines where it is JSON."""
    line = f"shard {config.rank}: {words}"
    if config.has_json_logs:
        line = json.dumps(
            {
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "level": level,
                "message": words,
                "target": f"inlay_shard.{config.rank}",
            },
            ensure_ascii=False,
        )
    print(line, file=sys.stderr, flush=True)
