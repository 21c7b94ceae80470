"""What was acknowledged, read or found taken survives any loss of power; `-m tests.power_loss` runs more seeds."""

import logging

import pytest

from .ablations import PARTS, without
from .schedule import run_schedule

SEEDS = 300
MOST = 800


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_nothing_is_lost_torn_or_comes_back():
    wrong = [words for seed in range(SEEDS) for words in run_schedule(seed).wrong]
    assert not wrong, "\n".join(wrong[:3])


def test_seeds_that_once_failed():
    """A removal its process could not log (2577); a torn object removed under its reader (6701) and finder (7274)."""
    wrong = [words for seed in (926, 2577, 6701, 7274) for words in run_schedule(seed).wrong]
    assert not wrong, "\n".join(wrong[:3])


@pytest.mark.parametrize("part", PARTS)
def test_protocol_without_this_part_is_found_out(part: str):
    with without(part):
        for seed in range(MOST):
            if run_schedule(seed).wrong:
                return
    pytest.fail(f"{part}: none of {MOST} seeds noticed")
