"""What is told of lost work: a reason in words, and nothing of Ray's own."""

from __future__ import annotations

from typing import Any

import pytest
from ray import exceptions
from support.trouble import Mute

from rojak_ray.runtime.link import LinkLost
from rojak_ray.runtime.losses import failed, lost

TRACE = "\x1b[36mray::functions()\x1b[39m (pid=4711, ip=10.1.2.3)\n  File /opt/ray/worker.py"


def task_error(cause: Exception) -> exceptions.RayTaskError:
    return exceptions.RayTaskError("functions", TRACE, cause)


@pytest.mark.parametrize("began", [True, False])
@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (None, "the process that ran it died"),
        (exceptions.WorkerCrashedError(), "the process that ran it died"),
        (exceptions.ActorUnavailableError(TRACE, b"x" * 16), "does not answer"),
        (exceptions.NodeDiedError(TRACE), "the node that ran it is gone"),
        (exceptions.OutOfMemoryError(TRACE), "too little memory"),
        (exceptions.TaskUnschedulableError(TRACE), "no node of the cluster can run it"),
        (LinkLost(TRACE), "the process that ran it died"),
        (task_error(ValueError("ours")), "ValueError: ours"),
        (task_error(Mute()), "Mute: (no text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_lost_work_has_a_reason_without_rays_internals(cause: Any, reason: str, began: bool) -> None:
    error = lost(cause, "a call", began=began)
    assert (error.error_type, error.lost, error.transient, error.began) == ("ProcessLost", True, True, began)
    assert reason in error.message
    assert ("nothing took effect" in error.message) is not began
    assert not [word for word in ("\x1b", "pid", "10.1.2.3", "/opt", "ray::") if word in error.message]


def test_environment_that_cannot_be_set_up_is_no_loss_and_told_with_its_reason() -> None:
    error = lost(exceptions.RuntimeEnvSetupError("\x1b[31mNo module named 'nowhere'"), "a call", began=False)
    assert (error.error_type, error.lost, error.transient, error.began) == ("RuntimeEnvSetupError", False, False, False)
    assert error.message == "No module named 'nowhere' It had not begun, so nothing took effect."


def test_error_of_ours_is_no_loss() -> None:
    error = failed(task_error(KeyError("bug")), "a call")
    assert (error.error_type, error.lost, error.message) == ("InternalError", False, "KeyError: 'bug'")
