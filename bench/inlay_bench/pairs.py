"""What two ways have in common that are measured in pairs, one right after the other."""

from collections.abc import Iterable, Sequence
from statistics import median


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds of ours over theirs, each pair taken one after the other."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))


def goal_line(ratios: Iterable[float], bar: float) -> str:
    """Whether the lowest of the ratios is at least `bar`, in words."""
    worst = min(ratios)
    verdict = "reached" if worst >= bar else "missed"
    return f"goal: at least {bar} everywhere: {worst:.3f}, {verdict}"
