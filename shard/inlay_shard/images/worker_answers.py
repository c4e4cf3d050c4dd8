"""Reads what an image worker says, and nothing else that a process in its place could say."""

import io
import pickle
from typing import Any

_KNOWN = frozenset(
    {
        ("builtins", "RuntimeError"),
        ("inlay_shard.errors", "PreparationRefused"),
        ("inlay_shard.images.frames", "Frame"),
        ("inlay_shard.images.image_process", "Answer"),
        ("inlay_shard.images.preparation", "Expansion"),
        ("inlay_shard.images.preparation", "Prepared"),
        ("inlay_shard.images.recipe", "Recipe"),
        ("inlay_shard.machine.shared_arrays", "Layout"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
"""By module and name, what an answer is made of beside Python's plain values."""


class UnknownAnswer(Exception):
    """No worker of ours says that."""


class _Reader(pickle.Unpickler):
    """Python's own format with a list of what may be made by it: a worker decodes what strangers
    send, so a decoder's fault must not become an order to whoever reads the answers."""

    def find_class(self, module: str, name: str) -> Any:
        """See pickle."""
        if (module, name) not in _KNOWN:
            raise UnknownAnswer(f"{module}.{name}")
        return super().find_class(module, name)


def read_answer(data: bytes) -> Any:
    """What was said. Raises UnknownAnswer."""
    try:
        return _Reader(io.BytesIO(data)).load()
    except Exception as error:  # the format is read by running it, so anything may come of it
        raise UnknownAnswer(str(error)) from error
