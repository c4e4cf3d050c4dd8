"""How long neighbours wait for their next token, quiet and while grammars are compiled."""

from pathlib import Path

from inlay_bench.plots.style import GREY, figure
from inlay_bench.serving.explosions import ExplosionsResult

LINES = (
    ("quiet", "quiet", "#2f855a"),
    ("harmless", "{} clients send easy grammars", "#2b6cb0"),
    ("bombs", "{} clients send hard grammars", "#b3123f"),
)


def draw(result: ExplosionsResult, path: Path) -> None:
    """The share of gaps at least so long, on a scale that shows the tail."""
    note = f"{result.machine}, {result.num_threads} thread computes, {result.when}"
    title = f"Inter-token latency of {result.num_streams} streams while grammars arrive"
    with figure(path, title, note) as (panel,):
        for name, label, colour in LINES:
            gaps = sorted(getattr(result, name))
            longer = [1 - place / len(gaps) for place in range(len(gaps))]
            words = label.format(result.num_clients)
            panel.step(gaps, longer, where="post", label=words, color=colour)
        panel.axhline(0.01, color=GREY, lw=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("ms to the next token")
        panel.set_ylabel("share of gaps at least as long (line: p99)")
        panel.legend(fontsize=7)
