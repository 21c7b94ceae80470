"""What each part of the protocol is for: without it the schedules find a violation."""

import pytest

from .ablations import ABLATIONS, ablated
from .schedule import run_schedule

SEEDS = range(5, 800)
CROWDED = {"no verify"}
"""Found where many processes stall while they want the same conversation."""


@pytest.mark.parametrize("name", ABLATIONS)
def test_protocol_without_this_part_is_found_out(name):
    with ablated(name):
        for seed in SEEDS:
            if run_schedule(seed, crowded=name in CROWDED).wrong:
                return
    pytest.fail(f"{name}: none of {len(SEEDS)} schedules noticed")
