"""What the router pays: a token as the answer grows, and a step as the batch grows."""

from pathlib import Path

from inlay_bench.plots.style import GREY, figure
from inlay_bench.serving.router import RouterResult


def draw(result: RouterResult, path: Path) -> None:
    """Two panels."""
    note = f"{result.machine}, {result.when}; a scripted shard, CPU time of the router's process"
    with figure(path, "Growth of the router's cost", note, 2) as (tokens, steps):
        tokens.plot(
            [point.to_tokens for point in result.growth],
            [point.microseconds for point in result.growth],
            "o-",
            color="#b3123f",
        )
        tokens.set_xscale("log")
        tokens.set_ylim(bottom=0)
        tokens.set_xlabel("tokens of the answer so far")
        tokens.set_ylabel("µs of CPU for one more token")
        sizes = [point.num_streams for point in result.schedule]
        costs = [point.microseconds for point in result.schedule]
        steps.plot(sizes, costs, "o-", color="#b3123f", label="next_step and settle")
        scaled = [costs[-1] * size / sizes[-1] for size in sizes]
        steps.plot(sizes, scaled, "--", color=GREY, label="proportional to the batch")
        steps.set_xscale("log", base=2)
        steps.set_yscale("log")
        steps.set_xlabel("streams in the step")
        steps.set_ylabel("µs to schedule one step")
        steps.legend(fontsize=7)
