"""`make faults`: the whole matrix of faults and moments, again and again, with its figures.

Ends with 1 when a stream was lost or altered.
"""

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator

from disturbance import FAULTS, MOMENTS, Disturbance, Fault, Outcome, serve_disturbed

_NUM_STREAMS = (1, 4, 10)
_NUM_LAST_CHARACTERS = 6000
"""Of what the server printed, shown when something was lost or altered."""


def main() -> int:
    """Run until there were enough kills, or no time is left."""
    options = _parser().parse_args()
    flags = ["--num-shard", str(options.num_shard)]
    flags += ["--max-deaths", "1000000", "--step-timeout", str(options.step_timeout)]
    with serve_disturbed(*flags) as server:
        total = _run(Disturbance(server), options)
        exit_code = server.stop()
    print(f"{total}; the server ended with exit code {exit_code}")
    for failure in total.failures:
        print("  ", failure)
    return 1 if total.num_lost or total.num_altered or exit_code else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="stop after so many (200)")
    parser.add_argument("--seconds", type=float, default=7200.0, help="or after so long (7200)")
    parser.add_argument("--num-shard", type=int, default=1, help="processes of the model (1)")
    parser.add_argument("--step-timeout", type=float, default=5.0, help="as `inlay serve` has it")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the rounds (0)")
    return parser


def _run(disturbance: Disturbance, options: argparse.Namespace) -> Outcome:
    total = Outcome()
    started = time.monotonic()
    for fault, moment, num_streams in _rounds(random.Random(options.seed)):
        seconds = time.monotonic() - started
        if total.num_kills >= options.kills or seconds >= options.seconds:
            break
        outcome = disturbance.round(fault, moment, num_streams, which=total.num_kills)
        if outcome.failures:
            print(disturbance.server.output()[-_NUM_LAST_CHARACTERS:])
            print("not as undisturbed:", *outcome.failures, sep="\n  ")
        total.add(outcome)
        print(f"{seconds:6.0f} s  {fault.name}, {moment}, {num_streams}: {total}", flush=True)
    return total


def _rounds(order: random.Random) -> Iterator[tuple[Fault, str, int]]:
    """Every combination before any comes again."""
    every = list(itertools.product(FAULTS, MOMENTS, _NUM_STREAMS))
    while True:
        yield from order.sample(every, len(every))


if __name__ == "__main__":
    sys.exit(main())
