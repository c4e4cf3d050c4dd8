"""How long neighbours wait for their next token, quiet and while grammars are compiled."""

from pathlib import Path

from inlay_bench.plots.style import figure
from inlay_bench.plots.tail import draw_tails
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
        draw_tails(
            panel,
            (
                (getattr(result, name), label.format(result.num_clients), colour)
                for name, label, colour in LINES
            ),
        )
        panel.legend(fontsize=7)
