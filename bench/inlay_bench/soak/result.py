"""What a soak showed."""

import msgspec

from inlay_bench.soak.watch import Sample, slope


class SoakResult(msgspec.Struct, frozen=True):
    """One soak."""

    machine: str
    when: str
    minutes: float
    num_clients: int
    counts: dict[str, int]
    """Requests by what became of them."""
    failures: list[str]
    """What the server said of the first that failed."""
    samples: list[Sample]
    leaks: list[str]
    """What was left behind once all was quiet; empty when nothing was."""


def page(result: SoakResult) -> str:
    """The result in words."""
    counts = ", ".join(f"{number} {what}" for what, number in sorted(result.counts.items()))
    lines = [
        f"{result.minutes:.1f} minutes, {result.num_clients} clients,"
        f" {sum(result.counts.values())} requests: {counts}",
        *(f"  failed: {words}" for words in result.failures[:5]),
        "resident memory, MiB: at the first look, at the last, and its slope over the later half"
        " of the time, MiB a minute",
    ]
    for role in result.samples[-1].held:
        sizes = [s.held[role].resident_bytes / 2**20 for s in result.samples if role in s.held]
        change = slope(result.samples, role)
        words = "" if change is None else f"{change:+9.2f}"
        lines.append(f"  {role:17} {sizes[0]:9.1f} {sizes[-1]:9.1f} {words}")
    lines += [f"LEFT BEHIND: {leak}" for leak in result.leaks] or ["nothing was left behind"]
    return "\n".join(lines)
