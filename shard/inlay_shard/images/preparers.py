"""What prepares the images of a model folder: its adapter if it has one, else its own processor."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from inlay_shard.images.adapted_preparation import AdaptedPreparer
from inlay_shard.images.preparation import Preparer, load_preparer
from inlay_shard.model.plugins import find_adapter

AnyPreparer: TypeAlias = Preparer | AdaptedPreparer


def find_preparer(folder: Path, plugins: Sequence[str] = ()) -> AnyPreparer | None:
    """The preparer of a model folder; None when the model takes no images.

    plugins: see `plugins.load_plugins`. Raises ModelRefused, and what loading a processor raises.
    """
    adapter = find_adapter(folder, plugins)
    return load_preparer(folder) if adapter is None else AdaptedPreparer(adapter)
