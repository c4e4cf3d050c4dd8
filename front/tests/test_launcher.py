import asyncio
import dataclasses
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from inlay.backoff import RestartPolicy
from inlay.launcher import CONFIGURATION_ERROR, Command, Death, GaveUp, Group, run

POLICY = RestartPolicy(first_delay_seconds=0.01, max_delay_seconds=0.01, max_deaths=3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test puts the modules that its children run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return tmp_path


def child(folder: Path, name: str, source: str) -> Command:
    """A command that runs `source`; it may append a line to the file `started`."""
    lines = [
        "import sys, time",
        f"open({str(folder / 'started')!r}, 'a').write({name!r} + '\\n')",
        source,
    ]
    (folder / f"{name}.py").write_text("\n".join(lines))
    return Command(name=name, module=name, arguments=(), environment={})


def group(*commands: Command) -> Group:
    def fixed() -> Sequence[Command]:
        return commands

    return Group(fixed, POLICY)


def starts(folder: Path) -> list[str]:
    path = folder / "started"
    return sorted(path.read_text().split()) if path.exists() else []


def wait_for_starts(folder: Path, names: list[str]) -> None:
    deadline = time.monotonic() + 30
    while starts(folder) != names:
        assert time.monotonic() < deadline, starts(folder)
        time.sleep(0.01)


def test_what_dies_is_started_again_until_it_died_too_often(folder: Path) -> None:
    with pytest.raises(GaveUp, match="brief ended with exit code 3; it died too often"):
        asyncio.run(group(child(folder, "brief", "sys.exit(3)")).keep_running())
    assert starts(folder) == ["brief"] * 3


def test_a_configuration_error_is_final(folder: Path) -> None:
    wrong = child(folder, "wrong", f"sys.exit({CONFIGURATION_ERROR})")
    with pytest.raises(GaveUp, match="cannot start as configured"):
        asyncio.run(group(wrong).keep_running())
    assert starts(folder) == ["wrong"]


def test_children_of_a_group_die_together(folder: Path) -> None:
    patient = child(folder, "patient", "sys.stdin.read()")
    # The second child waits until the first has started as often as itself, then dies.
    brief = child(
        folder,
        "brief",
        f"while not (lambda t: t.count('patient') == t.count('brief'))"
        f"(open({str(folder / 'started')!r}).read()): time.sleep(0.01)\nsys.exit(1)",
    )
    with pytest.raises(GaveUp, match="brief ended"):
        asyncio.run(group(patient, brief).keep_running())
    assert starts(folder) == ["brief"] * 3 + ["patient"] * 3


def test_who_falls_silent_is_ended_and_started_again(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inlay.launcher.FIRST_SIGN_SECONDS", 0.01)
    silent = dataclasses.replace(
        child(folder, "silent", "sys.stdin.read()"), max_silent_seconds=0.05
    )
    with pytest.raises(GaveUp, match="silent was ended by SIGKILL; it died too often"):
        asyncio.run(group(silent).keep_running())
    assert "silent gave no sign of life for 0.05 s; ending it" in caplog.text


def test_who_gives_signs_of_life_goes_on(folder: Path) -> None:
    source = (
        "import asyncio\n"
        "from inlay_proto.heartbeat import beating\n"
        f"open({str(folder / 'started')!r}, 'a').write('beats\\n')\n"
        "async def main():\n"
        "    async with beating():\n"
        "        await asyncio.sleep(2.5)\n"
        "asyncio.run(main())\n"
        "sys.exit(4)"
    )
    command = dataclasses.replace(child(folder, "lively", source), max_silent_seconds=2.0)
    policy = RestartPolicy(max_deaths=1)
    with pytest.raises(GaveUp, match="lively ended with exit code 4"):
        asyncio.run(Group(lambda: [command], policy).keep_running())


def test_a_death_reads_well() -> None:
    assert str(Death("shard 0", -signal.SIGKILL)) == "shard 0 was ended by SIGKILL"
    assert str(Death("router", 1)) == "router ended with exit code 1"


def test_a_signal_ends_both_groups_and_exits_with_0(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    router = group(child(folder, "router", "sys.stdin.read()"))
    replica = group(child(folder, "shard", "sys.stdin.read()"))

    async def scenario() -> int:
        running = asyncio.create_task(run(router, replica, drain_seconds=5))
        await asyncio.to_thread(wait_for_starts, folder, ["router", "shard"])
        os.kill(os.getpid(), signal.SIGTERM)
        return await running

    assert asyncio.run(scenario()) == 0
    assert "leaving: running answers get up to 5 s; a second signal ends" in caplog.text


def test_shards_are_started_again_while_the_router_drains(folder: Path) -> None:
    drains = f"lambda *_: open({str(folder / 'draining')!r}, 'w').close()"
    router = group(
        child(
            folder,
            "router3",
            f"import signal; signal.signal(signal.SIGTERM, {drains})\n"
            f"open({str(folder / 'started')!r}, 'a').write('listens\\n')\n"
            "while True: time.sleep(0.01)",
        )
    )
    # The first shard dies once the router drains, the second stays.
    replica = group(
        child(
            folder,
            "shard3",
            "import os\n"
            f"is_first = open({str(folder / 'started')!r}).read().count('shard3') == 1\n"
            f"while not os.path.exists({str(folder / 'draining')!r}): time.sleep(0.01)\n"
            "sys.exit(1) if is_first else sys.stdin.read()",
        )
    )

    async def scenario() -> int:
        running = asyncio.create_task(run(router, replica, drain_seconds=60))
        await asyncio.to_thread(wait_for_starts, folder, ["listens", "router3", "shard3"])
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.to_thread(wait_for_starts, folder, ["listens", "router3", "shard3", "shard3"])
        os.kill(os.getpid(), signal.SIGINT)
        return await running

    assert asyncio.run(scenario()) == 0


def test_a_group_that_gives_up_ends_the_server_with_1(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    router = group(child(folder, "router2", "sys.stdin.read()"))
    replica = group(child(folder, "shard2", f"sys.exit({CONFIGURATION_ERROR})"))
    assert asyncio.run(run(router, replica, drain_seconds=5)) == 1
    assert "shard2 ended with exit code 78" in caplog.text
