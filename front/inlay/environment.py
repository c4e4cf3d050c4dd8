"""What a report of a fault should say of the machine: `inlay serve --env`."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("inlay", "torch", "transformers", "outlines", "llguidance", "grpcio", "tokenizers")


def environment() -> str:
    """A line for each fact."""
    return "\n".join(f"{name}: {value}" for name, value in _facts())


def _facts() -> Iterator[tuple[str, str]]:
    yield "platform", platform.platform()
    yield "python", platform.python_version()
    yield "cores", str(os.cpu_count())
    for package in PACKAGES:
        yield package, _version(package)
    yield "nvidia-smi", _devices()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> str:
    """Names and memory of NVIDIA devices."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "not installed"
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    return "; ".join(done.stdout.splitlines()) or done.stderr.strip()
