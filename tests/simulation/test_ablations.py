"""What each part of the protocol is for: without it the schedules find a violation."""

import pytest

from .ablations import JOURNALS, ablated
from .directed import DIRECTED, direct
from .schedule import run_schedule

SEEDS = range(5, 800)


@pytest.mark.parametrize("name", [name for name in JOURNALS if name not in DIRECTED])
def test_protocol_without_this_part_is_found_out(name):
    with ablated(name):
        for seed in SEEDS:
            if run_schedule(seed).wrong:
                return
    pytest.fail(f"{name}: none of {len(SEEDS)} schedules noticed")


@pytest.mark.parametrize("name", DIRECTED)
def test_schedule_made_for_this_part_ends_well_with_it_and_not_without(name):
    assert direct(name, whole=True) is None
    assert direct(name, whole=False) is not None
