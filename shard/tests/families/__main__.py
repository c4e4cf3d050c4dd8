"""Tries every family and writes `docs/families.md`; names on the command line try those alone."""

import sys
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from families.listing import TEXT, vision_language
from families.table import line, page
from families.trial import Trial, try_family

PAGE = Path(__file__).parents[3] / "docs" / "families.md"


def main(names: list[str]) -> int:
    """The exit code: 1 when a family that is served gives a wrong answer."""
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    if names:
        return _exit_code(_try_all(names))
    seeing, text = _try_all(vision_language()), _try_all(list(TEXT))
    PAGE.write_text(page(seeing, text))
    print(f"written: {PAGE}")
    return _exit_code(seeing + text)


def _try_all(model_types: list[str]) -> list[Trial]:
    trials = []
    for number, model_type in enumerate(model_types, 1):
        trials.append(try_family(model_type))
        print(f"{number:3} of {len(model_types)}  {line(trials[-1])}", flush=True)
    return trials


def _exit_code(trials: list[Trial]) -> int:
    return int(any(trial.is_wrong for trial in trials))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
