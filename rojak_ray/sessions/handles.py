"""What a client hands out: a run, a session. Light: an id and the way to ask."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from rojak_ray.agents.agent import Agent
from rojak_ray.checks import reading, shown
from rojak_ray.core.commands import CancelRun, StartRun, UpdateConfig
from rojak_ray.core.events import Limit
from rojak_ray.core.kept import KeptResult
from rojak_ray.errors import InvalidArgument, InvalidMessage
from rojak_ray.ids import check_id, digest
from rojak_ray.journal.paths import Owner
from rojak_ray.messages import (
    ConversationMessage,
    MessageInput,
    read_context,
    read_messages,
    to_public,
)
from rojak_ray.sessions.caller import (
    Caller,
    agent_identity,
    messages_identity,
    read_cursor,
    read_flag,
    read_limit,
    read_model_calls,
)
from rojak_ray.sessions.calls import answer_call, open_questions, view_of, whole_result
from rojak_ray.sessions.events import SessionEvent
from rojak_ray.sessions.requests import Ask, AwaitedCall, SessionView
from rojak_ray.sessions.streams import follow, follow_run, stream_run
from rojak_ray.sessions.types import GetConfigResponse, OrchestratorResponse, UpdateConfigParams


class RunHandle:
    """A run that was started.

    Example:
        handle = await rojak.start_run("table-7", agent, "Book a table for 4 guests.")
        print(handle.id)  # any program that knows it: rojak.get_run("table-7")
    """

    def __init__(self, caller: Caller, owner: Owner) -> None:
        """Made by `start_run`."""
        self.id = owner.id
        self._caller = caller
        self._owner = owner

    async def result(self) -> OrchestratorResponse:
        """The answer, waiting for it.

        Raises:
            RunError: The run failed or was cancelled.

        Example:
            assert (await handle.result()).context_variables == {"booked": 4}
        """
        return await self._caller.answer(self._owner, self.id)

    def events(self, after: int = 0) -> AsyncGenerator[SessionEvent, None]:
        """What happens in the run, up to its end: `async for event in handle.events()`.

        Args:
            after: The `seq` of the last event seen; 0 begins with the first.

        Every event but live pieces of text comes exactly once and in order, also when the run moves to another
        process, and also after it has ended. Nothing is raised for a run that failed: its `RunEndedEvent` says so.

        Raises:
            SessionSetAside: The run kept ending its process and waits for a person.
            StorageError: The storage has not answered for a minute.

        Example:
            async for event in handle.events():
                print(event.seq, event.kind)
        """
        return follow_run(self._caller, self._owner, self.id, read_cursor(after))

    async def cancel(self, *, request_id: str | None = None) -> None:
        """Stop the run; steps under way are stopped too. A run that has ended stays as it is, so this may be repeated.

        Args:
            request_id: Names this request, for programs that name all of theirs.

        Example:
            await handle.cancel()
        """
        named = check_id(request_id, "request") if request_id is not None else None
        await self._caller.ask(self._owner, Ask(commands=(CancelRun(run_id=self.id, request_id=named),)))

    async def kept_results(self) -> list[KeptResult]:
        """See `Session.kept_results`."""
        return list((await view_of(self._caller, self._owner)).kept)

    async def whole_result(self, call: str | KeptResult) -> str | list[dict[str, Any]]:
        """See `Session.whole_result`."""
        return await whole_result(self._caller, self._owner, call)

    async def open_questions(self) -> list[AwaitedCall]:
        """The calls that wait for an answer from outside.

        Example:
            assert await handle.open_questions() == []
        """
        return await open_questions(self._caller, self._owner)

    async def answer(self, call_id: str, answer: Any, *, request_id: str | None = None) -> None:
        """Give a waiting call its result. See `Session.answer`."""
        await answer_call(self._caller, self._owner, call_id, answer, request_id)


class Session:
    """A conversation. Any number of programs may hold one; what they send is answered in order of arrival.

    Example:
        session = await rojak.create_session("desk-1", agent, context_variables={"guest": "Mei"})
        response = await session.send_messages("Book a table for 4 guests.")
        assert response.context_variables == {"guest": "Mei", "booked": 4}
    """

    def __init__(self, caller: Caller, owner: Owner) -> None:
        """Made by `create_session` and `get_session`."""
        self.id = owner.id
        self._caller = caller
        self._owner = owner

    async def send_messages(
        self, messages: MessageInput, agent: Agent | None = None, *, request_id: str | None = None
    ) -> OrchestratorResponse:
        """Send messages and wait for the answer.

        Args:
            messages: A string, a message, or a list of messages.
            agent: Who answers; None: the agent that spoke last.
            request_id: Names this request (and its run), so that it may be repeated: it is answered once, and the
                repetition gets the same answer, from the record. None makes one up.

        Returns:
            The messages sent, what was appended, and the agent that would answer next.

        Raises:
            RequestError: The messages are wrong; nothing was stored.
            RequestConflict: The request id belongs to a request with other messages or another agent.
            RunError: This run failed or was cancelled. History and context are as they were before it.
            StorageError: The outcome is unknown; the same request id asks again.

        Crash safety:
            Whatever is retried on the way, it is answered once. With a request id of your own, so is what you repeat
            after an error, a crash or a day.

        Example:
            response = await session.send_messages("Book a table for 4 guests.", request_id="web-4711")
            assert response.context_variables == {"booked": 4}
        """
        command = await self._request(messages, agent, request_id)
        return await self._caller.answer(self._owner, command.run_id, (command,))

    async def stream_messages(
        self, messages: MessageInput, agent: Agent | None = None, *, request_id: str | None = None
    ) -> AsyncGenerator[SessionEvent, None]:
        """Send messages and see what happens until they are answered: `async for event in ...`.

        The same as `send_messages`, watched: the record and the answer (`get_result`) are the same. Only events of
        this request are told. The last one is a `RunEndedEvent`; if the run failed or was cancelled, what
        `send_messages` raises is raised behind it. Leaving the loop stops nothing.

        Args, Raises, Crash safety: as of `send_messages`.

        Example:
            async for event in session.stream_messages("Book a table for 4 guests."):
                print(event.kind)
        """
        command = await self._request(messages, agent, request_id)
        async with aclosing(stream_run(self._caller, self._owner, command.run_id, (command,))) as events:
            async for event in events:
                yield event

    def events(self, after: int = 0, *, until_idle: bool = False) -> AsyncGenerator[SessionEvent, None]:
        """What happens in the conversation, whoever asked for it: `async for event in session.events()`.

        Args:
            after: The `seq` of the last event seen; 0 begins with the first.
            until_idle: End where nothing runs or waits, instead of going on until the loop is left.

        Every event but live pieces of text comes exactly once and in order, from any program, whatever process died
        meanwhile. A session that is in storage is read there and not woken.

        Raises:
            SessionNotFound: The session was deleted.
            StorageError: The storage has not answered for a minute.

        Example:
            await session.send_messages("Hello!")
            async for event in session.events(until_idle=True):
                print(event.seq, event.kind)
        """
        idle = read_flag(until_idle, "until_idle")
        return follow(self._caller, self._owner, read_cursor(after), until_idle=idle)

    async def _request(self, messages: MessageInput, agent: Agent | None, request_id: str | None = None) -> StartRun:
        named = check_id(request_id, "request") if request_id is not None else None
        records = read_messages(messages)
        spec = await self._caller.prepare(agent) if agent is not None else None
        content = digest([messages_identity(records), agent_identity(spec) if spec is not None else None])
        await self._caller.gateway.connect()
        return StartRun(
            run_id=named or self._caller.ids.new_id(),
            input_digest=content,
            messages=records,
            agent=spec,
            providers=await self._caller.gateway.providers(),
        )

    async def get_result(self) -> OrchestratorResponse:
        """The latest answer; before the first one, a response without messages and agent.

        Example:
            await session.send_messages("Book a table for 4 guests.")
            assert (await session.get_result()).context_variables == {"booked": 4}
        """
        latest = (await self._view()).latest
        if latest is None:
            return OrchestratorResponse([], None, {})
        return self._caller.read_outcome(latest)

    async def get_config(self) -> GetConfigResponse:
        """Settings and history.

        Example:
            assert (await session.get_config()).history_size == 10
        """
        view = await self._view()
        return GetConfigResponse(
            messages=[to_public(message) for message in view.history],
            context_variables=dict(view.context_variables),
            max_turns=math.inf if view.max_turns is None else int(view.max_turns),
            max_model_calls=math.inf if view.max_model_calls is None else view.max_model_calls,
            history_size=math.inf if view.history_size is None else view.history_size,
            debug=view.debug,
        )

    async def history(self) -> list[ConversationMessage]:
        """The messages the next run will see.

        Example:
            await session.send_messages("Hello!")
            assert [message.role for message in await session.history()] == ["user", "assistant"]
        """
        return [to_public(message) for message in (await self._view()).history]

    async def update_config(self, params: UpdateConfigParams, *, request_id: str | None = None) -> None:
        """Change settings; fields that are None stay. Durable when it returns; a run in progress sees them too.

        Args:
            params: What changes.
            request_id: Names this change, so that it may be repeated and is made once, whatever was changed since.

        Raises:
            RequestError: A value is wrong, or the request id belongs to another change; nothing changed.
            StorageError: The outcome is unknown; the same request id asks again.

        Example:
            await session.update_config(UpdateConfigParams(context_variables={"guest": "Mei"}))
            assert (await session.get_config()).context_variables == {"guest": "Mei"}
        """
        named = self._named(request_id)
        if not isinstance(params, UpdateConfigParams):
            raise InvalidArgument(f"params must be UpdateConfigParams(...), not {shown(params)}.")
        messages = params.messages
        if messages is not None:
            with reading("messages", InvalidMessage):
                empty = isinstance(messages, Sequence) and not messages
            messages = () if empty else read_messages(messages)
        limits: dict[Limit, int | None] = {
            "max_turns": read_limit(params.max_turns, "max_turns"),
            "max_model_calls": read_model_calls(params.max_model_calls),
            "history_size": read_limit(params.history_size, "history_size"),
        }
        command = UpdateConfig(
            messages=messages,
            context_variables=read_context(params.context_variables) if params.context_variables is not None else None,
            max_turns=limits["max_turns"],
            max_model_calls=limits["max_model_calls"],
            history_size=limits["history_size"],
            debug=None if params.debug is None else read_flag(params.debug, "debug"),
            unlimited=tuple(name for name in limits if limits[name] is None and getattr(params, name) is not None),
            request_id=named,
        )
        await self._caller.ask(self._owner, Ask(commands=(command,)))

    async def cancel(self, *, request_id: str | None = None) -> None:
        """Stop what is running and drop what waits; those who wait for an answer get RunCancelled.

        The conversation itself stays and answers the next message.

        Args:
            request_id: Names this request, so that it may be repeated: what began since the first time goes on.

        Example:
            await session.cancel()  # the conversation stays
        """
        await self._caller.ask(self._owner, Ask(commands=(CancelRun(request_id=self._named(request_id)),)))

    def _named(self, request_id: str | None) -> str:
        return check_id(request_id, "request") if request_id is not None else self._caller.ids.new_id()

    async def kept_results(self) -> list[KeptResult]:
        """The latest whole results that are stored beside the conversation (`@function(keep_result=True)`)."""
        return list((await view_of(self._caller, self._owner)).kept)

    async def whole_result(self, call: str | KeptResult) -> str | list[dict[str, Any]]:
        """All of a result of which the model was given a part.

        It is read from the storage by this program, which needs its credentials: no host carries it.

        Args:
            call: `call_id`, as in `ToolContext`, events and `kept_results`; or what these hold, which also finds one
                that is older than those in `kept_results`.

        Returns:
            The text, or the parts (texts, images, files) as dictionaries.

        Raises:
            ResultNotKept: No whole result is stored of it.
            StorageError: It cannot be read now, or is damaged.
        """
        return await whole_result(self._caller, self._owner, call)

    async def open_questions(self) -> list[AwaitedCall]:
        """The calls that wait for an answer from outside. Looking wakes nobody.

        Example:
            for call in await session.open_questions():
                print(call.call_id, call.question)
        """
        return await open_questions(self._caller, self._owner)

    async def answer(self, call_id: str, answer: Any, *, request_id: str | None = None) -> None:
        """Give a call whose function returned `WaitForAnswer` its result; the run goes on with it.

        Args:
            call_id: Ours: from `open_questions`, `ToolContext.call_id` or a `WaitingEvent`. The vendor's id of the call
                (`tool_call_id`) is taken while no other call that waits or waited had it.
            answer: A text, or plain data, which the model gets as JSON; or `ImagePart` and `FilePart`.
            request_id: Names this answer, so that it may be given again with the same id; None makes one up.

        Raises:
            CallNotWaiting: No such call waits; its `reason` and text say whether it was answered, its time is over,
                its run has ended or it has not got so far. Nothing changed.
            RequestConflict: The request id belongs to another answer.
            InvalidMessage: The answer is no text and no data (an agent, an object of any class), or too large.
            StorageError: The outcome is unknown; the same request id asks again.

        Crash safety:
            Durable when it returns. A call takes one answer; the first counts. The same answer again, with its request
            id, does nothing.

        Example:
            def ask_boss(amount: float) -> WaitForAnswer:
                '''Ask the boss for some amount.'''
                return WaitForAnswer(f"${amount}?")

            handle = await rojak.start_run(agent=OfflineAgent(functions=[ask_boss]), messages="Ask the boss for 5.")
            async for event in handle.events():
                if event.kind == "waiting" and event.call_id:
                    await handle.answer(event.call_id, "approved")  # a session's the same way
        """
        await answer_call(self._caller, self._owner, call_id, answer, request_id)

    async def _view(self) -> SessionView:
        return await view_of(self._caller, self._owner)
