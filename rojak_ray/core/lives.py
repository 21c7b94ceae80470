"""The creations and deletions of an id: requests that outlast each conversation which has it."""

from __future__ import annotations

from rojak_ray.core.commands import Delete, OpenSession
from rojak_ray.core.events import Deleted, Event, RequestTaken
from rojak_ray.core.state import SessionState
from rojak_ray.core.taken import content_digest
from rojak_ray.errors import RequestConflict


def created_before(state: SessionState, command: OpenSession) -> bool:
    """Whether this very creation was taken before, whatever has become of the conversation.

    Raises:
        RequestConflict: Its id belongs to another.
    """
    known = state.lives.content("creation", command.request_id) if command.request_id is not None else None
    if known is not None and known != content_digest(command.input_digest):
        raise RequestConflict(
            f"The request id {command.request_id!r} belongs to a creation with other arguments; choose another id, or "
            "pass the same agent and settings."
        )
    return known is not None


def creates_nothing(command: OpenSession, *, known: bool) -> list[Event]:
    """What is recorded of a creation that found a conversation: if it was named, that it was taken."""
    if known or command.request_id is None:
        return []
    return [RequestTaken(request_id=command.request_id, content=command.input_digest, creates=True)]


def deletion(state: SessionState, command: Delete, cancelled: list[Event]) -> list[Event]:
    """What a deletion leads to.

    Args:
        state: Of the conversation.
        command: The deletion.
        cancelled: What ends its runs.
    """
    request_id = command.request_id
    if request_id is not None and state.lives.content("deletion", request_id) is not None:
        return []
    if state.opened:
        return [*cancelled, Deleted(request_id=request_id)]
    return [Deleted(request_id=request_id)] if command.lasting and request_id is not None else []


def began(state: SessionState, command: OpenSession) -> bool:
    """Whether the conversation that is there is the one that this request made, now or when it was first taken."""
    named = command.request_id is not None and state.created_by == command.request_id
    return state.opened and (named or state.incarnation == command.incarnation)
