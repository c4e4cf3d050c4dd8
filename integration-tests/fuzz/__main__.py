"""`make fuzz`: damaged input for every door, with counts. Ends with 1 when something got through.

What got through lies in integration-tests/fuzz/seeds from then on, and is tried in every test run.
"""

import argparse
import logging
import sys

from fuzz.process import Progress, run_apart
from fuzz.targets import TARGETS


def main() -> int:
    """Run until there were enough inputs."""
    options = _parser().parse_args()
    logging.disable(logging.CRITICAL)
    chosen = [t for t in TARGETS if not options.targets or t.name in options.targets]
    total_weight = sum(target.weight for target in chosen)
    done = []
    for target in chosen:
        num_inputs = max(1, options.inputs * target.weight // total_weight)
        done.append(run_apart(target, num_inputs, options.seed))
        print(done[-1], flush=True)
    return _sum_up(done)


def _sum_up(done: list[Progress]) -> int:
    findings = [finding for progress in done for finding in progress.findings]
    for finding in findings:
        print(f"\n{finding}")
    seconds, data = max(progress.slowest for progress in done)
    print(f"\nthe slowest took {seconds:.2f} s: {data[:100]!r}")
    num_inputs = sum(progress.num_inputs for progress in done)
    print(f"\n{num_inputs} inputs, {len(findings)} findings")
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(target.name for target in TARGETS)
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="DOOR", help=f"of {names} (all)")
    parser.add_argument("--inputs", type=int, default=120_000, help="over all doors (120000)")
    parser.add_argument("--seed", type=int, default=0, help="of chance (0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
