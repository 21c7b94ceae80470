"""The checker of the chaos run finds each kind of fault it is there to find."""

import pytest

from benchmarks.chaos.audit import Report, _check_effects, _check_order, _check_run
from benchmarks.chaos.load import Conversation

KEY = "k"


def told(*messages: str) -> list[tuple[str, str]]:
    """A history with these messages, answered."""
    history: list[tuple[str, str]] = []
    for text in messages:
        history += [("user", text), ("assistant", ""), ("tool", f"applied {text}"), ("tool", f"computed {text}")]
        history.append(("assistant", f"did {text}"))
    return history


def conversation() -> Conversation:
    return Conversation("s", "shared", True, sent=["a", "b"], acknowledged={"a": 100, "b": 200})


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        (told("a"), "lost"),
        (told("a", "b", "b"), "doubled"),
        (told("b", "a"), "reordered"),
        (told("a", "b", "c"), "foreign"),
        ([*told("a", "b"), ("tool", "applied b")], "doubled"),
        (told("a", "b"), None),
    ],
)
def test_history_that_differs_from_what_was_told_is_a_fault(history: list[tuple[str, str]], fault: str | None) -> None:
    report = Report(seed=1)

    _check_order(report, conversation(), history)

    assert ({name for name, cases in report.faults.items() if cases} or {None}) >= {fault}
    assert (fault is None) == (not any(report.faults.values()))


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        (f"apply a {KEY} 2 1 50", None),
        (f"apply a {KEY} 2 1 150", "run again after its result"),
        ("apply a other 2 1 50", "other key"),
        (f"apply a {KEY} 1 1 50", "attempt twice"),
    ],
)
def test_side_effect_that_came_again_is_a_fault_unless_nothing_was_recorded(extra: str, fault: str | None) -> None:
    report = Report(seed=1)
    lines = [f"{name} a {KEY}{name} 1 1 10" for name in ("compute",)] + [f"apply a {KEY} 1 1 10", extra]

    _check_effects(report, {"a": 100}, lines)

    assert {name for name, cases in report.faults.items() if cases} == ({fault} if fault else set())
    assert report.run_again == 1


def test_side_effect_that_never_happened_is_lost() -> None:
    report = Report(seed=1)

    _check_effects(report, {"a": 100}, [f"apply a {KEY} 1 1 10"])

    assert report.faults["lost"] == ["compute a"]


def test_run_with_another_answer_than_was_told_is_a_fault() -> None:
    report = Report(seed=1)

    _check_run(report, "a", told("a"))
    assert not report.faults["wrong"]
    _check_run(report, "a", told("a")[:-1])
    assert report.faults["wrong"]
