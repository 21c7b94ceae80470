"""Every public method that changes something can be repeated with its id, and every one is in a list here."""

from __future__ import annotations

import inspect

import pytest

from rojak_ray import Rojak, Session
from rojak_ray.schedules import ScheduleHandle
from rojak_ray.sessions.handles import RunHandle
from rojak_ray.sessions.worker import Worker
from rojak_ray.testing.runtime import InProcessRuntime

CLASSES = [Rojak, InProcessRuntime, Session, RunHandle, ScheduleHandle, Worker]
LOOKS = {
    "kept_results",
    "whole_result",
    "describe",
    "events",
    "get_config",
    "get_result",
    "get_run",
    "get_run_result",
    "get_schedule",
    "get_session",
    "history",
    "list_scheduled_runs",
    "list_schedules",
    "open_questions",
    "result",
    "settings",
    "standing",
    "statistics",
}
NAMED_BY_THEIR_RUN = {"run", "start_run", "stream"}
"""Their `id` is the request's."""

OF_THIS_PROGRAM = {
    "close": "lets go of what this object holds",
    "create_worker": "says what this program has; it is said again whenever the cluster has forgotten",
    "register": "as create_worker",
}
METHODS = [
    (owner, name)
    for owner in CLASSES
    for name, _ in inspect.getmembers(owner, lambda one: inspect.isfunction(one) or isinstance(one, property))
    if not name.startswith("_") and not (owner is Worker and name == "run")
]


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda one: getattr(one, "__name__", one))
def test_what_changes_something_takes_a_request_id(owner: type, name: str) -> None:
    if name in LOOKS or name in OF_THIS_PROGRAM:
        return
    parameters = inspect.signature(getattr(owner, name)).parameters
    if name in NAMED_BY_THEIR_RUN:
        assert parameters["id"].default is None
        return
    assert "request_id" in parameters, f"{owner.__name__}.{name} changes something, or belongs into a list here"
    assert parameters["request_id"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["request_id"].default is None


def test_lists_name_only_what_there_is() -> None:
    assert LOOKS | NAMED_BY_THEIR_RUN | OF_THIS_PROGRAM.keys() <= {name for _, name in METHODS}
