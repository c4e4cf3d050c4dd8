"""How long a running stream waits for its next token: the distribution, quiet and beside others."""

from pathlib import Path
from statistics import median

from inlay_bench.plots.style import GREY, figure
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
        for name, label, colour in LINES:
            gaps = sorted(getattr(result, name))
            longer = [1 - place / len(gaps) for place in range(len(gaps))]
            panel.step(gaps, longer, where="post", label=label, color=colour)
        bar = BAR * median(result.quiet)
        panel.axvline(bar, color=GREY, ls=":", lw=1, label=f"{BAR:.0f} quiet medians")
        panel.axhline(0.01, color=GREY, lw=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("ms to the next token")
        panel.set_ylabel("share of gaps at least as long (line: p99)")
        panel.legend(fontsize=7)
