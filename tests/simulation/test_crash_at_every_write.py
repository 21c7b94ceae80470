"""Wherever a process stops, the next one ends where an undisturbed one does, and at most one more of each effect."""

import pytest

from .crashes import SCENARIOS, play, repeated


@pytest.mark.parametrize("landed", [False, True], ids=["before", "reply lost"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_next_process_ends_where_an_undisturbed_one_does(name, landed):
    undisturbed = play(name)
    assert not undisturbed.wrong
    assert undisturbed.writes > 6
    usual = repeated(undisturbed.executions)
    for stop_at in range(1, undisturbed.writes + 1):
        where = f"{name}, stopped at write {stop_at} of {undisturbed.writes}"
        ending = play(name, stop_at=stop_at, landed=landed)
        assert not ending.wrong, f"{where}: {ending.wrong}"
        said = [(role, "once" if text == "Interrupted:" else text) for role, text in ending.said]
        assert said == list(undisturbed.said), where
        for step_id, count in repeated(ending.executions).items():
            assert count <= usual[step_id] + 1, f"{where}: {step_id} ran {count} times"
        for execution in ending.executions:
            if execution.name == "once":
                assert repeated(ending.executions)[execution.step.step_id] == 1, where


@pytest.mark.parametrize("name", ["answer after a rest", "timer that rings"])
def test_scenarios_that_wait_do_rest_and_have_their_timer_rung(name):
    undisturbed = play(name)
    assert undisturbed.places["put wake"] == undisturbed.places["delete wake"] == 1
    assert ("tool", "yes" if name == "answer after a rest" else "TimeoutError:") in undisturbed.said


def test_scenario_of_snapshots_compacts():
    places = play("snapshots and compaction").places
    assert min(places[place] for place in ("put snap", "delete snap", "put arch", "delete log")) > 2
