"""What the processes of a server hold, and how that changes."""

from collections import defaultdict
from statistics import linear_regression

import msgspec
import psutil

_ROLES = {
    "inlay.cli": "launcher",
    "inlay_router": "router",
    "inlay_shard": "shard",
    "from inlay_shard.images.image_process import main; main()": "image workers",
    "inlay_grammars.worker": "compile worker",
}
"""A word of the command line, and what the process is."""
_FORKS = {"compile worker": "grammars on trial"}
"""Processes that one of the first kind forks: their memory is its own, counted once more."""


class Held(msgspec.Struct, frozen=True):
    """By all processes of one role."""

    resident_bytes: int
    num_descriptors: int
    num_threads: int


class Sample(msgspec.Struct, frozen=True):
    """One look."""

    seconds: float
    """Since the load began."""
    num_requests: int
    """That ended by then, refused ones too."""
    held: dict[str, Held]
    """By role."""


def look(launcher: psutil.Process) -> dict[str, Held]:
    """What a server holds now; processes that end meanwhile are left out."""
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    roles: dict[int, str] = {}
    for process in (launcher, *launcher.children(recursive=True)):
        try:
            role = _role(process.cmdline())
            if role is not None and roles.get(process.ppid()) == role:
                role = _FORKS.get(role, role)
            own = (process.memory_info().rss, process.num_fds(), process.num_threads())
        except psutil.NoSuchProcess:
            continue
        if role is not None:
            roles[process.pid] = role
            totals[role] = [sum(pair) for pair in zip(totals[role], own, strict=True)]
    return {role: Held(*numbers) for role, numbers in totals.items()}


def _role(command: list[str]) -> str | None:
    for word in command:
        if word in _ROLES:
            return _ROLES[word]
    return None


def slope(samples: list[Sample], role: str) -> float | None:
    """MiB a minute of the line nearest to the later half of samples, by least squares."""
    behind = [sample for sample in samples[len(samples) // 2 :] if role in sample.held]
    if len(behind) < 2:
        return None
    minutes = [sample.seconds / 60 for sample in behind]
    sizes = [sample.held[role].resident_bytes / 2**20 for sample in behind]
    return linear_regression(minutes, sizes).slope
