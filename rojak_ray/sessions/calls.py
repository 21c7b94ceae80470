"""What handles of runs and sessions share: the conversation as it stands, its calls that wait, its kept results."""

from __future__ import annotations

from typing import Any

from rojak_ray.agents.answers import read_answer
from rojak_ray.checks import check_text
from rojak_ray.core.commands import AnswerCall
from rojak_ray.core.kept import KeptResult
from rojak_ray.errors import InternalError, InvalidId, InvalidMessage, ResultNotKept
from rojak_ray.ids import check_id
from rojak_ray.journal.paths import Owner
from rojak_ray.messages import TEXT_BYTES, content_text, is_longer, too_large
from rojak_ray.sessions.caller import Caller
from rojak_ray.sessions.requests import Ask, AwaitedCall, SessionView

_LONGEST_CALL_ID = 1000


async def view_of(caller: Caller, owner: Owner) -> SessionView:
    """The conversation as it stands."""
    reply = await caller.ask(owner, Ask(view=True))
    if reply.view is None:
        raise InternalError(f"No view of {owner} came back.")
    return reply.view


async def whole_result(caller: Caller, owner: Owner, call: str | KeptResult) -> str | list[dict[str, Any]]:
    """See `Session.whole_result`."""
    if isinstance(call, KeptResult):
        await caller.gateway.connect()
        return await caller.gateway.whole_result(owner, call)
    check_text(call, "call", InvalidId, longest=_LONGEST_CALL_ID, why="kept_results() lists those of which it is kept.")
    for kept in reversed((await view_of(caller, owner)).kept):
        if kept.call_id == call:
            return await caller.gateway.whole_result(owner, kept)
    raise ResultNotKept(
        f"No whole result is kept of call {call!r}: its function has no @function(keep_result=True), its result was "
        "given whole, or there is no such call. kept_results() lists those that are kept."
    )


async def open_questions(caller: Caller, owner: Owner) -> list[AwaitedCall]:
    """See `Session.open_questions`."""
    return list((await view_of(caller, owner)).awaited)


async def answer_call(caller: Caller, owner: Owner, call_id: str, answer: Any, request_id: str | None) -> None:
    """See `Session.answer`."""
    check_text(call_id, "call_id", InvalidId, longest=_LONGEST_CALL_ID, why="open_questions() lists those that wait.")
    answer_id = check_id(request_id, "request") if request_id is not None else caller.ids.new_id()
    output = read_answer(answer)
    if is_longer(content_text(output), TEXT_BYTES):
        raise InvalidMessage(too_large("The answer"))
    command = AnswerCall(call_id=call_id, answer_id=answer_id, output=output)
    await caller.ask(owner, Ask(commands=(command,)))
