"""Tries every family and writes `docs/families.md`; names on the command line try those alone."""

import argparse
import sys
from pathlib import Path

from families.extras import provide_operators

provide_operators()

import torch  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from families.listing import BESIDE_EXTRAS, TEXT, vision_language  # noqa: E402
from families.table import line, page, read  # noqa: E402
from families.trial import Trial, try_family  # noqa: E402

PAGE = Path(__file__).parents[3] / "docs" / "families.md"


def main(arguments: list[str]) -> int:
    """The exit code: 1 when a family that is served gives a wrong answer."""
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    seeing = vision_language()
    trials = _try_all(_chosen(arguments, [*seeing, *TEXT]))
    known = read(PAGE.read_text()) | {trial.model_type: trial for trial in trials}
    PAGE.write_text(page(*([known[n] for n in part if n in known] for part in (seeing, TEXT))))
    print(f"written: {PAGE}")
    return int(any(trial.is_wrong for trial in trials))


def _chosen(arguments: list[str], every: list[str]) -> list[str]:
    """Model types to try. Ends the process for help, and for a type that there is not."""
    parser = argparse.ArgumentParser(prog="make families", description=__doc__)
    parser.add_argument("model_types", nargs="*", metavar="MODEL_TYPE", help="all by default")
    parser.add_argument(
        "--beside-extras",
        action="store_true",
        help="those that need torchvision, timm or scipy, which are to be installed",
    )
    options = parser.parse_args(arguments)
    chosen: list[str] = options.model_types
    unknown = sorted(set(chosen) - set(every))
    if unknown:
        parser.error(f"no model type of the page: {', '.join(unknown)}")
    return list(BESIDE_EXTRAS) if options.beside_extras else chosen or every


def _try_all(model_types: list[str]) -> list[Trial]:
    trials = []
    for number, model_type in enumerate(model_types, 1):
        trials.append(try_family(model_type))
        print(f"{number:3} of {len(model_types)}  {line(trials[-1])}", flush=True)
    return trials


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
