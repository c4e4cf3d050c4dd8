"""What several tests of kernels share."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from inlay_kernels import processor
from inlay_kernels.decoder import forms


@pytest.fixture(scope="session")
def portable_twin() -> Callable[[ModuleType], ModuleType]:
    """Imports a module, and the forms of products that it uses, once more, as where the processor
    has no products of bfloat16."""

    def imported(module: ModuleType) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processor, "HAS_BFLOAT16_PRODUCTS", False)
            patch.setitem(sys.modules, forms.__name__, _imported_again(forms))
            return _imported_again(module)

    return imported


def _imported_again(module: ModuleType) -> ModuleType:
    name = f"portable_{module.__name__.rpartition('.')[2]}"
    spec = importlib.util.spec_from_file_location(name, module.__file__)
    assert spec is not None and spec.loader is not None
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    return twin
