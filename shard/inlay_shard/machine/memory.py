"""How much memory is free where a model computes, and how much something takes at its peak."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")
_SYSTEM = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Memory that is free where a device computes; in main memory, within all control groups."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def available_memory() -> int:
    """Bytes of main memory that the system can give this process."""
    free = _fields(_SYSTEM)["MemAvailable"]
    for group in _own_groups():
        limit = _limit(group)
        if limit is not None:
            free = min(free, limit - _used(group))
    return max(0, free)


def _fields(path: Path) -> dict[str, int]:
    """Bytes by name, from a file with lines like `VmRSS: 12 kB`."""
    fields = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value.removesuffix(" kB")) * 1024
    return fields


def _own_groups() -> list[Path]:
    """Folders of the control groups of this process and of all above them, both versions."""
    folders = [_GROUPS]
    for line in (_PROCESS / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            lowest = _GROUPS / controllers / path.lstrip("/")
            folders += [lowest, *lowest.parents]
    return [folder for folder in dict.fromkeys(folders) if folder.is_relative_to(_GROUPS)]


def _limit(group: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (group / name).is_file() and (text := (group / name).read_text().strip()).isdigit():
            return int(text)
    return None


def _used(group: Path) -> int:
    """What cannot be taken back: caches of files can."""
    lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    used = {name: int(value) for name, value in lines}
    if "anon" in used:
        return used["anon"] + used.get("kernel", 0)
    return used.get("total_rss", used.get("rss", 0))


@dataclass(slots=True)
class Peak:
    """The most memory that something took beside what was held before."""

    num_bytes: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Peak]:
    """Measure what happens within; 0 where the system does not tell."""
    peak = Peak()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.num_bytes = torch.cuda.max_memory_allocated(device) - before
        torch.cuda.empty_cache()
        return
    can_measure = _forget_peak()
    before = _fields(_PROCESS / "status")["VmRSS"]
    yield peak
    if can_measure:
        peak.num_bytes = max(0, _fields(_PROCESS / "status")["VmHWM"] - before)


def _forget_peak() -> bool:
    """Let the peak of this process begin anew (`man 5 proc`, clear_refs); whether that worked."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True
