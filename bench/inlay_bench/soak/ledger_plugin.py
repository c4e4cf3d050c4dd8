"""A plugin for shards that tells what they hold: `--plugin …/ledger_plugin.py`.

After a step it writes `PID.json` into the folder that INLAY_LEDGER names, if a file `ask` is there.
It also keeps the cache of grammars, which no flag does, so small that it is soon full: what grows
from then on is no cache.
"""

import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

_GRAMMAR_BYTES = 16 << 20


def register() -> None:
    """Called in a shard and in its image workers; only the shard has an engine."""
    folder = os.environ.get("INLAY_LEDGER")
    if folder is None or "inlay_shard.steps.engine" not in sys.modules:
        return
    from inlay_grammars.compiler import GrammarCompiler
    from inlay_shard.steps.engine import Engine

    defaults = GrammarCompiler.__init__.__kwdefaults__
    assert defaults is not None
    defaults["max_cached_bytes"] = _GRAMMAR_BYTES
    run, place = Engine.run, Path(folder)

    def run_and_tell(self: Any, step: Any) -> Any:
        result = run(self, step)
        if (place / "ask").exists():
            _tell(place)
        return result

    Engine.run = run_and_tell  # type: ignore[method-assign]


def _tell(place: Path) -> None:
    from inlay_shard.steps.sequence import RunningSequence

    gc.collect()
    held = [thing for thing in gc.get_objects() if isinstance(thing, RunningSequence)]
    ledger = {
        "sequences": len(held),
        "matchers": sum(sequence.matcher is not None for sequence in held),
        "threads": threading.active_count(),
    }
    (place / "ask").unlink()
    (place / f"{os.getpid()}.json").write_text(json.dumps(ledger))
