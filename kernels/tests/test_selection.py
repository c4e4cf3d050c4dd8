"""Each device gets its kernels, and only a GPU asks for Triton."""

import importlib.util
import subprocess
import sys

import pytest

from inlay_kernels import REFERENCE, select
from inlay_kernels.paged_attention import cpu


def test_the_cpu_gets_compiled_kernels() -> None:
    assert select("cpu").paged_attention is cpu.paged_attention


def test_a_gpu_without_triton_gets_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert select("cuda:0") is REFERENCE


def test_other_devices_get_the_reference() -> None:
    assert select("meta") is REFERENCE


def test_importing_the_package_does_not_import_triton() -> None:
    code = (
        "import sys, inlay_kernels; inlay_kernels.select('cpu'); assert 'triton' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
