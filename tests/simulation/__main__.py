"""The command: runs many seeds, or one of them with everything that happened.

python -m tests.simulation --count 100000        from the repository's root
python -m tests.simulation --seed 123 --trace
"""

from __future__ import annotations

import argparse
import os
import sys

from .runner import failure_lines, quiet, run_many
from .schedule import run_schedule


def main() -> int:
    """1 if a schedule failed."""
    arguments = _arguments()
    quiet()
    if arguments.seed is not None:
        report = run_schedule(arguments.seed, tracing=arguments.trace)
        verdict = "failed" if report.wrong else "all well"
        print("\n".join([*report.trace, *failure_lines(report), f"seed {arguments.seed}: {verdict}"]))
        return bool(report.wrong)
    return run_many(range(arguments.first, arguments.first + arguments.count), arguments.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
