"""Two clusters on one bucket lose and double nothing; without a part of the protocol they are found out."""

import pytest

from .reigns import Without, run_reigns

COUNT, PARTS = 120, 4


@pytest.mark.parametrize("first", range(0, COUNT, COUNT // PARTS))
@pytest.mark.parametrize("calm", [True, False], ids=["calm", "rough"])
def test_no_schedule_of_two_clusters_loses_or_doubles_anything(first: int, calm: bool) -> None:
    for seed in range(first, first + COUNT // PARTS):
        assert not run_reigns(seed, calm=calm).wrong, f"run_reigns({seed}, calm={calm}, tracing=True)"


def test_schedules_are_not_too_kind() -> None:
    luck = sum((run_reigns(seed, calm=False).luck for seed in range(20)), start=run_reigns(20, calm=False).luck)
    assert all(luck[kind] for kind in ("ordered", "killed", "stalled", "cut off")), luck


@pytest.mark.parametrize("without", ["standing by", "letting steps end"])
def test_without_this_part_living_clusters_take_work_from_each_other(without: Without) -> None:
    for seed in range(60):
        if run_reigns(seed, calm=True, without=without).wrong:
            return
    pytest.fail(f"none of 60 calm schedules noticed that clusters do without {without}")


@pytest.mark.parametrize(
    ("seed", "calm"),
    [
        (334, True),  # a conversation was about to rest while it was being finished, and began new steps
        (514, True),  # a cluster took over again from the one that had just followed it, before all was let go
        (294, False),
        (886, False),  # a ruler that could not renew for a while ruled on, and nobody went on with what it had left
        (918, False),
    ],
)
def test_schedules_that_once_found_something(seed: int, calm: bool) -> None:
    assert not run_reigns(seed, calm=calm).wrong
