"""What one compilation may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CompileLimits:
    """Bounds on one compilation in a compile process, and on how many run at once."""

    seconds: float = 5.0
    """Wall time, from the start of the compilation."""
    memory_bytes: int = 512 * 1024 * 1024
    """Address space, on top of what the idle compile process has."""
    stack_bytes: int = 4 * 1024 * 1024
    """Half of what a thread has by default, so that what passes here has room in a shard."""
    max_workers: int = 2
    """Compilations at once; more wait."""
