"""Free memory within control groups, and peaks."""

from pathlib import Path

import pytest
import torch

from inlay_shard.machine import memory
from inlay_shard.machine.memory import available_memory, measured

MIB = 1 << 20


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 4096 MiB to give and no control groups."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "groups").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4194304 kB\nHugePages: 0\n")
    (tmp_path / "proc/cgroup").write_text("0::/\n")
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "proc")
    monkeypatch.setattr(memory, "_SYSTEM", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    return tmp_path


def put(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_what_the_system_can_give(system: Path) -> None:
    assert available_memory() == 4096 * MIB


def test_a_group_above_limits_too(system: Path) -> None:
    put(system / "proc", cgroup="0::/pod/container\n")
    stat = f"anon {100 * MIB}\nfile {500 * MIB}\nkernel {20 * MIB}\n"
    put(system / "groups/pod", memory__max=f"{1000 * MIB}\n", memory__stat=stat)
    put(system / "groups/pod/container", memory__max="max\n", memory__stat="anon 0\n")
    assert available_memory() == 880 * MIB


def test_the_root_of_a_container_limits(system: Path) -> None:
    put(system / "groups", memory__max=f"{300 * MIB}\n", memory__stat=f"anon {200 * MIB}\n")
    assert available_memory() == 100 * MIB


def test_the_first_version_of_control_groups(system: Path) -> None:
    put(system / "proc", cgroup="5:cpu:/x\n4:memory:/docker/1\n")
    stat = f"cache 7\nrss 1\ntotal_rss {50 * MIB}\n"
    group = system / "groups/memory/docker/1"
    put(group, memory__limit_in_bytes=f"{200 * MIB}\n", memory__stat=stat)
    assert available_memory() == 150 * MIB


def test_more_used_than_allowed_is_nothing_left(system: Path) -> None:
    put(system / "groups", memory__max="10\n", memory__stat="anon 20\n")
    assert available_memory() == 0


def test_a_peak_is_noticed_after_it_is_over() -> None:
    with measured(torch.device("cpu")) as peak:
        torch.ones(64 * MIB // 4)
    if peak.num_bytes == 0:
        pytest.skip("this system does not let a process forget its peak")
    assert 60 * MIB < peak.num_bytes < 200 * MIB
