"""Deciding on what arrived, so that one value or bug ends neither the conversation nor its host."""

from __future__ import annotations

from rojak_ray.core.commands import Command, RecordStep
from rojak_ray.core.decide import decide
from rojak_ray.core.events import Event
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import StepError
from rojak_ray.errors import InternalError, RequestError
from rojak_ray.journal.aggregate import CONVERSATION
from rojak_ray.logs import get_logger

logger = get_logger(__name__)


def decide_safely(state: SessionState, command: Command) -> list[Event]:
    """The events a command leads to, read back once, so that what is recorded can be replayed.

    A step's result that cannot be recorded fails its step: without that the step, whose effect has happened, would run
    again and again.

    Raises:
        RequestError: It is refused.
        InternalError: A bug of ours; nothing has changed.
    """
    try:
        return _decided(state, command)
    except RequestError:
        raise
    except Exception as error:
        if not isinstance(command, RecordStep):
            raise InternalError(f"{command.kind} cannot be decided on: {type(error).__name__}: {error}") from error
        logger.exception("the result of step %s cannot be recorded, so the step fails", command.step_id)
        failure = StepError(
            error_type=type(error).__name__, message=f"its result cannot be recorded: {error}", transient=False
        )
        return _decided(state, command.model_copy(update={"result": failure}))


def _decided(state: SessionState, command: Command) -> list[Event]:
    events = decide(state, command)
    if events:
        written = CONVERSATION.events.dump_python(tuple(events), mode="json")
        if CONVERSATION.events.validate_python(written) != tuple(events):
            raise ValueError("an event reads back as another one")
    return events
