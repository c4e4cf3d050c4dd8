"""A forked process that compiles one grammar, and may die of it."""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

from inlay_grammars.limits import CompileLimits
from inlay_grammars.spec import GrammarError
from inlay_grammars.verdict import Verdict

MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1


class Canary:
    """One compilation in a child process. `verdict` once `fileno` can be read, or it is late."""

    def __init__(self, trial: Callable[[], Verdict], limits: CompileLimits) -> None:
        """Forks. Takes about 5 ms of this process's time.

        Args:
            trial: compiles; raises GrammarError if the grammar is refused.
            limits: what it may cost.
        """
        self._limits = limits
        self._fd, child_fd = os.pipe()
        self.deadline = time.monotonic() + limits.seconds
        """When to kill it, by `time.monotonic()`."""
        self._pid = os.fork()
        if self._pid == 0:
            _run(trial, limits, child_fd)
        os.close(child_fd)

    def fileno(self) -> int:
        """Readable when the child ended, by itself or not."""
        return self._fd

    def verdict(self) -> Verdict | None:
        """Wait for the child, which has ended or is about to; None if somebody killed it."""
        with os.fdopen(self._fd, "rb") as pipe:
            words = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        if words:
            return Verdict(**json.loads(words))
        return _obituary(os.waitstatus_to_exitcode(status), self._limits)

    def kill(self) -> Verdict:
        """End the child, which is late."""
        os.kill(self._pid, signal.SIGKILL)
        os.close(self._fd)
        os.waitpid(self._pid, 0)
        return _too_slow(self._limits)


def _run(trial: Callable[[], Verdict], limits: CompileLimits, fd: int) -> None:
    """The life of the child. Writes its verdict; silence means that it died."""
    try:
        os.closerange(3, fd)  # the pipes of the parent and of other canaries
        os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
        _confine(limits)
        os.write(fd, json.dumps(asdict(_judge(trial, limits))).encode())
    finally:
        os._exit(0)


def _judge(trial: Callable[[], Verdict], limits: CompileLimits) -> Verdict:
    try:
        return trial()
    except GrammarError as error:
        return Verdict(error=str(error))
    except MemoryError:
        return Verdict(error=_too_large(limits))
    except BaseException as error:  # a panic of Rust is no Exception
        return Verdict(error=f"the grammar made the compiler fail: {error}")


def _confine(limits: CompileLimits) -> None:
    """Bounds set by the system, and an end with the parent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # last words of the allocator
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(limits.seconds) + 1,) * 2)
    resource.setrlimit(resource.RLIMIT_STACK, (limits.stack_bytes,) * 2)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with open("/proc/self/statm") as statm:
            num_pages = int(statm.read().split()[0])
        max_bytes = num_pages * resource.getpagesize() + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (max_bytes,) * 2)


def _obituary(exit_code: int, limits: CompileLimits) -> Verdict | None:
    if exit_code == -signal.SIGKILL:
        return None
    if exit_code == -signal.SIGABRT:
        return Verdict(error=_too_large(limits))
    if exit_code == -signal.SIGSEGV:
        return Verdict(
            error="the grammar is nested or chained too deeply: its compilation overflowed "
            f"the stack of {limits.stack_bytes // MIB} MiB, the limit"
        )
    return Verdict(error=f"the compilation ended with status {exit_code}", is_final=False)


def _too_slow(limits: CompileLimits) -> Verdict:
    error = f"the grammar takes more than {limits.seconds:g} s to compile, the limit"
    return Verdict(error=error, is_final=False)


def _too_large(limits: CompileLimits) -> str:
    return f"the grammar takes more than {limits.memory_bytes // MIB} MiB to compile, the limit"
