"""The command: runs many seeds, or one of them with everything that happened.

python -m tests.power_loss --count 100000        from the repository's root
python -m tests.power_loss --seed 123
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from .schedule import run_schedule, wrong_of


def main() -> int:
    """1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.power_loss", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, help="run this one alone, and print what happened")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.seed is not None:
        report = run_schedule(arguments.seed, tracing=True)
        print("\n".join([*report.trace, *map(str, report.history), *report.wrong]) or "all well")
        return bool(report.wrong)
    seeds = range(arguments.first, arguments.first + arguments.count)
    failed = 0
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn"), logging.disable, (50,)) as pool:
        for wrong in pool.map(wrong_of, seeds, chunksize=50):
            failed += bool(wrong)
            if wrong and failed <= 20:
                print("\n".join(wrong), flush=True)
    print(f"{len(seeds):,} seeds: {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
