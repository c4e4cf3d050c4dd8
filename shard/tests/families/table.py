"""The table of families as a page of markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import transformers

from families.trial import Trial

_COLUMNS = {
    "loads": "served",
    "text": "text",
    "one_image": "one image",
    "several_images": "several images",
    "batch": "mixed batch",
    "chunks": "chunks of 5",
    "cached": "from cached blocks",
    "embeds": "embeddings instead",
}
"""Fields of a trial, and what stands above them."""
_WORDS = {True: "yes", False: "**no**", None: ""}


_HEAD = """# Families

Made by `make families`; do not edit. Each row is a tiny random model of a family, made on the spot,
served by the engine and held against `generate`: greedy, float32, token for token. *Mixed batch*:
all prompts at once. *Chunks of 5*: prefills in chunks of 5 tokens, cut inside images where the
model allows it, beside decodes. *From cached blocks*: the same prompt again, continued from the
blocks of the first time. *Embeddings instead*: what the encoder made of the images is sent in
their stead ([why some take none](image-embeds.md)). A family is refused at start-up, in the words
of the last column, when its answers could be wrong. Images are prepared by PIL; rows that say
*beside torchvision* were tried where torchvision, timm and scipy are installed, too.
"""


def read(text: str) -> dict[str, Trial]:
    """The rows of a page by model type."""
    cells = [row.strip("|").split("|") for row in text.splitlines() if row.startswith("| ")]
    rows = [[cell.strip() for cell in row] for row in cells if len(row) == len(_COLUMNS) + 2]
    return {row[0]: _trial(*row) for row in rows if row[0] != "model type"}


def _trial(model_type: str, *cells: str) -> Trial:
    *values, reason = cells
    known = {word: value for value, word in _WORDS.items()} | {"refused": False}
    fields: Any = {n: known[value] for n, value in zip(_COLUMNS, values, strict=True)}
    return Trial(model_type=model_type, reason=reason, **fields)


def page(seeing: Sequence[Trial], text: Sequence[Trial]) -> str:
    """The whole page. seeing: families that take images."""
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}."
    sections = [
        *_section("Families that take images", seeing),
        "",
        *_section("Text families", text),
    ]
    return "\n".join([_HEAD, versions, "", *sections, ""])


def line(trial: Trial) -> str:
    """One family, for people who wait."""
    if not trial.loads:
        verdict = "refused" if trial.loads is False else "not tried"
        return f"{trial.model_type:24} {verdict}: {trial.reason}"
    tried = [name for name in _COLUMNS if getattr(trial, name) is not None]
    wrong = [_COLUMNS[name] for name in tried if not getattr(trial, name)]
    verdict = f"WRONG: {', '.join(wrong)}" if wrong else f"equal in {len(tried) - 1} ways"
    return f"{trial.model_type:24} {verdict} ({trial.num_seconds:.1f} s) {trial.reason}"


def _section(title: str, trials: Sequence[Trial]) -> Iterable[str]:
    num_served = sum(trial.loads is True for trial in trials)
    num_seeing = sum(trial.one_image is True for trial in trials)
    yield f"## {title}"
    yield ""
    yield f"{len(trials)} model types; {num_served} are served" + (
        f", {num_seeing} of them with images here." if num_seeing else "."
    )
    yield ""
    yield f"| model type | {' | '.join(_COLUMNS.values())} | remark |"
    yield "|---" * (len(_COLUMNS) + 2) + "|"
    for trial in trials:
        cells = [_WORDS[getattr(trial, name)] for name in _COLUMNS]
        if trial.loads is False:
            cells[0] = "refused"
        yield f"| {trial.model_type} | {' | '.join(cells)} | {trial.reason.replace('|', '/')} |"
