"""Where results are kept, and the conditions that stand in them."""

import os
import platform
import time
from pathlib import Path

import msgspec


def save(result: msgspec.Struct, name: str, folder: Path) -> Path:
    """Writes a result as JSON; the file, newer ones sorting last."""
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    path = results / time.strftime(f"{name}-%Y%m%d-%H%M%S.json")
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def now() -> str:
    """The day and the hour."""
    return time.strftime("%Y-%m-%d %H:%M")


def describe_machine() -> str:
    """Processor and number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"
