"""What became of work whose process did not bring a result, in words for models and callers.

Ray's own words name its processes, files and addresses, in colours; they go to the log. "Lost" is said only where a
process may have done the work without being able to tell.
"""

from __future__ import annotations

from ray.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    RuntimeEnvSetupError,
    TaskCancelledError,
    TaskUnschedulableError,
)

from rojak_ray.core.steps import StepError
from rojak_ray.logs import get_logger
from rojak_ray.sessions.failures import describe, readable

logger = get_logger(__name__)

_LONGEST_REASON = 1000
_NEVER_BEGAN = " It had not begun, so nothing took effect."
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (OutOfMemoryError, "the node had too little memory left and ended the process that ran it"),
    (NodeDiedError, "the node that ran it is gone"),
    (ActorUnavailableError, "the process that ran it does not answer"),
    (TaskUnschedulableError, "no node of the cluster can run it"),
    (TaskCancelledError, "it was cancelled from outside"),
)
_DIED = "the process that ran it died"


def lost(cause: BaseException | None, what: str, *, began: bool = True) -> StepError:
    """The error for work whose process ended, or could not be had.

    Args:
        cause: What Ray or the connection said; None: it ended without a word.
        what: For the log.
        began: Whether the work may have begun. What has not can be repeated whatever it does.
    """
    logger.warning("lost %s (%s): %s", what, "under way" if began else "before it began", cause)
    if isinstance(cause, RuntimeEnvSetupError):  # the same environment cannot be set up the next time either
        text = readable(str(cause.error_message or cause), _LONGEST_REASON)
        return StepError(error_type="RuntimeEnvSetupError", message=text + _NEVER_BEGAN, began=False)
    text = _reason(cause) + "."
    return StepError(
        error_type="ProcessLost",
        message=text if began else text + _NEVER_BEGAN,
        transient=True,
        lost=True,
        began=began,
    )


def failed(error: RayTaskError, what: str) -> StepError:
    """The error for work that ended in an error of ours: its process lives, and nothing is lost."""
    logger.error("a bug ended %s: %s", what, error)
    cause = getattr(error, "cause", None)
    text = describe(cause) if isinstance(cause, BaseException) else _DIED
    return StepError(error_type="InternalError", message=text)


def _reason(cause: BaseException | None) -> str:
    if isinstance(cause, RayTaskError):
        inner = getattr(cause, "cause", None)
        return f"the process that ran it failed: {describe(inner)}" if isinstance(inner, BaseException) else _DIED
    return next((text for kind, text in _REASONS if isinstance(cause, kind)), _DIED)
