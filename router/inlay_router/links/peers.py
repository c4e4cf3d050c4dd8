"""Ends processes on this machine that listen on a Unix socket and answer no more."""

import os
import signal
import socket
import struct

_CREDENTIALS = struct.Struct("3i")
_SECONDS = 1.0


def end_listener(address: str) -> bool:
    """Kill the process that listens at `unix:/path`; whether there was one that could be killed.

    The kernel names the process, so it cannot be another one. False for other addresses: a process
    on another machine is not ours to end.
    """
    if not address.startswith("unix:"):
        return False
    try:
        os.kill(_listener_id(address.removeprefix("unix:")), signal.SIGKILL)
    except (OSError, ValueError):
        return False
    return True


def has_listener(address: str) -> bool:
    """Whether somebody listens at `unix:/path`, answering or not. False for other addresses."""
    if not address.startswith("unix:"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.removeprefix("unix:"))
        except BlockingIOError:
            pass  # its backlog is full
        except OSError:
            return False
    return True


def _listener_id(path: str) -> int:
    """Raises OSError when nobody listens, ValueError when the process is not visible from here."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_SECONDS)
        probe.connect(path)
        level, option = socket.SOL_SOCKET, socket.SO_PEERCRED
        process_id, _, _ = _CREDENTIALS.unpack(probe.getsockopt(level, option, _CREDENTIALS.size))
    if process_id <= 0 or process_id == os.getpid():
        raise ValueError(f"the listener at {path} is not a process of its own")
    return int(process_id)
