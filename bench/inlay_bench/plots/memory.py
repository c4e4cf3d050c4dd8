"""Memory of each process over a soak."""

from pathlib import Path

from inlay_bench.plots.style import figure
from inlay_bench.soak.result import SoakResult

_COLOURS = {
    "shard": "#b3123f",
    "image workers": "#e58aa4",
    "router": "#2b6cb0",
    "compile worker": "#2f855a",
    "launcher": "#6b46c1",
}


def draw(result: SoakResult, path: Path) -> None:
    """Two panels: resident memory, and requests so far."""
    num_requests = sum(result.counts.values())
    title = f"{num_requests} requests at overload, each with its own picture or grammar"
    note = f"{result.machine}, {result.when}; {result.num_clients} clients, 48 permits"
    with figure(path, title, note, 2) as (memory, requests):
        for role, colour in _COLOURS.items():
            samples = [sample for sample in result.samples if role in sample.held]
            memory.plot(
                [sample.seconds / 60 for sample in samples],
                [sample.held[role].resident_bytes / 2**20 for sample in samples],
                color=colour,
                label=role,
            )
        memory.set_ylim(bottom=0)
        memory.set_xlabel("minutes")
        memory.set_ylabel("resident memory, MiB")
        memory.legend(fontsize=7, loc="center right")
        requests.plot(
            [sample.seconds / 60 for sample in result.samples],
            [sample.num_requests for sample in result.samples],
            color="#777777",
        )
        requests.set_ylim(bottom=0)
        requests.set_xlabel("minutes")
        requests.set_ylabel("requests that ended, refused ones included")
