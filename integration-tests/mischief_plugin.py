"""A plugin for shards that fail on demand: `--plugin integration-tests/mischief_plugin.py`.

The folder that INLAY_MISCHIEF names says what is to happen. A file with the number of a process,
"exit" or "raise" in it, ends that process in the midst of its next step. A file `poison`, a JSON
object of token ids and one of the words "exit", "raise" and "fail", lets every step end that has
a prompt with these tokens in it. A picture of a single colour ends the process that embeds it, if
there is a file `no-plain-pictures`.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

OUT_OF_MEMORY = 137
"""Exit code of a process in a container that was ended for want of memory."""


def _exit() -> NoReturn:
    os._exit(OUT_OF_MEMORY)


def _raise() -> NoReturn:
    raise KeyboardInterrupt("mischief")  # the engine takes no halves of a batch for its sake


def _fail() -> NoReturn:
    raise RuntimeError("mischief")


_WAYS: dict[str, Callable[[], NoReturn]] = {"exit": _exit, "raise": _raise, "fail": _fail}


def register() -> None:
    """Called in a shard and in its image workers; only the shard has an engine."""
    folder = os.environ.get("INLAY_MISCHIEF")
    if folder is None or "inlay_shard.steps.engine" not in sys.modules:
        return
    from inlay_shard.model.network import Network
    from inlay_shard.steps.engine import Engine

    _spoil_steps(Engine, Path(folder))
    _spoil_pictures(Network, Path(folder))


def _spoil_steps(engine: Any, folder: Path) -> None:
    forward, own = engine._forward, folder / str(os.getpid())

    def spoilt(self: Any, rows: list[Any], outcome: Any) -> Any:
        if own.exists():
            _WAYS[own.read_text()]()
        if (poison := _read(folder / "poison")) is not None:
            for row in rows:
                if _begins(row.sequence.token_ids, poison["token_ids"]):
                    _WAYS[poison["way"]]()
        return forward(self, rows, outcome)

    engine._forward = spoilt


def _spoil_pictures(network: Any, folder: Path) -> None:
    encode_images = network.encode_images

    def spoilt(self: Any, pixels: Any) -> Any:
        if (folder / "no-plain-pictures").exists():
            values = pixels["pixel_values"]
            if any(bool((one == one.flatten()[0]).all()) for one in values):
                _WAYS["exit"]()
        return encode_images(self, pixels)

    network.encode_images = spoilt


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _begins(token_ids: Any, poison: list[int]) -> bool:
    return [int(token_id) for token_id in token_ids[: len(poison)]] == poison
