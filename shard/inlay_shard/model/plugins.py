"""Code of model authors: it makes classes known to `transformers`, and names their adapters."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TypeAlias

from inlay_shard.adapter import ImageAdapter
from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import read_config

GROUP = "inlay.models"
"""Entry points of this group are plugins that are always loaded."""
_FUNCTION = "register"
"""What a plugin is called by, where only a module is named."""

Adapters: TypeAlias = Mapping[str, type[ImageAdapter]]
"""By model type."""


def find_adapter(folder: Path, plugins: Sequence[str]) -> ImageAdapter | None:
    """The adapter of a model, made for this process; None when it has none.

    Raises ModelRefused.
    """
    adapters = load_plugins(tuple(plugins))
    if not adapters:
        return None
    config = read_config(folder)
    adapter = adapters.get(config.model_type)
    try:
        return None if adapter is None else adapter(folder, config)
    except (ValueError, OSError, KeyError) as error:
        raise ModelRefused(f"its adapter fails: {type(error).__name__}: {error}") from error


@cache
def load_plugins(names: tuple[str, ...] = ()) -> Adapters:
    """Call every installed plugin and those that are named, once in this process.

    names: of modules (`my_models`), of functions in them (`my_models:setup`), or paths of Python
    files.

    Raises ModelRefused when one cannot be had, fails, or names an adapter that there is already.
    """
    adapters: dict[str, type[ImageAdapter]] = {}
    for name, own in [*_installed().items(), *((name, _named(name)) for name in names)]:
        for model_type, adapter in own.items():
            if adapters.setdefault(model_type, adapter) is not adapter:
                raise ModelRefused(f"plugin {name}: there is an adapter for {model_type} already")
    return MappingProxyType(adapters)


@cache
def _installed() -> Mapping[str, Adapters]:
    """By the value of the entry point."""
    return {point.value: _called(point.value, point.load) for point in entry_points(group=GROUP)}


@cache
def _named(name: str) -> Adapters:
    return _called(name, lambda: _find(name))


def _called(name: str, find: Callable[[], object]) -> Adapters:
    try:
        found = find()
        register = getattr(found, _FUNCTION) if isinstance(found, ModuleType) else found
        adapters = register()  # type: ignore[operator]  # whatever is wrong is caught
        return dict(adapters or {})
    except ModelRefused:
        raise
    except Exception as error:
        raise ModelRefused(f"plugin {name} fails: {type(error).__name__}: {error}") from error


def _find(name: str) -> object:
    if name.endswith(".py"):
        return _from_file(Path(name))
    module, _, function = name.partition(":")
    found = importlib.import_module(module)
    return getattr(found, function) if function else found


def _from_file(path: Path) -> ModuleType:
    """A module of the file's name; `transformers` reads its source where that says it lies."""
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None or not path.is_file():
        raise ModelRefused(f"plugin {path}: there is no such file")
    if path.stem in sys.modules:
        raise ModelRefused(f"plugin {path}: a module of this name is loaded already")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
