"""How long a running stream waits for its next token: the distribution, quiet and beside others."""

from pathlib import Path
from statistics import median

from inlay_bench.plots.style import GREY, figure
from inlay_bench.plots.tail import draw_tails
from inlay_bench.serving.stalls import BAR, NUM_ARRIVALS, NUM_PROMPT_TOKENS, StallsResult

LINES = (
    ("quiet", "quiet", "#2f855a"),
    ("images", f"{NUM_ARRIVALS} large pictures arrive", "#b3123f"),
    ("prefills", f"{NUM_ARRIVALS} prompts of {NUM_PROMPT_TOKENS} tokens arrive", "#2b6cb0"),
)


def draw(result: StallsResult, path: Path) -> None:
    """The share of gaps longer than so many milliseconds, on a scale that shows the tail."""
    note = f"{result.machine}, {result.num_threads} threads, {result.when}"
    title = "Inter-token latency of a running text stream"
    with figure(path, title, note) as (panel,):
        lines = ((getattr(result, name), label, colour) for name, label, colour in LINES)
        draw_tails(panel, lines)
        bar = BAR * median(result.quiet)
        panel.axvline(bar, color=GREY, ls=":", lw=1, label=f"{BAR:.0f} quiet medians")
        panel.legend(fontsize=7)
