"""`Client`: the verbs a program calls, over whatever gateway leads to the hosts.

`Rojak` reaches them over Ray, `testing.InProcessRuntime` has them in its own process; the checks, the ids and the
answers are the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.agents.agent import Agent
from rojak_ray.core.commands import Command, Delete, OpenSession, Resume, StartRun
from rojak_ray.core.events import DEFAULT_MODEL_CALLS
from rojak_ray.ids import IdSource, RandomIds, check_id, digest
from rojak_ray.journal.paths import Owner
from rojak_ray.messages import ContextVariables, MessageInput, read_context, read_messages
from rojak_ray.sessions.caller import (
    Caller,
    agent_identity,
    input_digest,
    messages_identity,
    read_flag,
    read_limit,
    read_model_calls,
)
from rojak_ray.sessions.events import SessionEvent
from rojak_ray.sessions.handles import RunHandle, Session
from rojak_ray.sessions.offered import read_worker
from rojak_ray.sessions.ports import Gateway
from rojak_ray.sessions.requests import Ask
from rojak_ray.sessions.streams import stream_run
from rojak_ray.sessions.types import OrchestratorResponse
from rojak_ray.sessions.worker import Worker


class Client:
    """Runs agents and holds sessions. Base of `Rojak` and `InProcessRuntime`."""

    def __init__(self, gateway: Gateway, ids: IdSource | None = None) -> None:
        """Cheap: nothing is connected before the first use."""
        self._gateway = gateway
        self._caller = Caller(gateway, ids or RandomIds())

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._gateway.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Let go of what this client holds. Runs and sessions on a cluster go on."""
        await self._gateway.close()

    async def run(
        self,
        id: str | None = None,
        agent: Agent | None = None,
        messages: MessageInput = (),
        context_variables: ContextVariables | None = None,
        max_turns: int | float = math.inf,
        debug: bool = False,
        *,
        max_model_calls: int | float = DEFAULT_MODEL_CALLS,
    ) -> OrchestratorResponse:
        """Run an agent on messages until it has an answer.

        Args:
            id: Names the run. The same id again joins the run or answers from its record; None makes one up.
            agent: Who answers first.
            messages: A string, a message, or a list of messages.
            context_variables: What functions and instructions can read and change; plain JSON data.
            max_turns: Messages the run may append before it stops asking.
            debug: Log every step of the run.
            max_model_calls: Answers it may take from models before it fails, so that no loop goes on for ever;
                `float("inf")` means no limit.

        Returns:
            The answer. Its `finish_reason` tells a whole one ("stop") from one that was cut, refused or withheld.

        Raises:
            RequestError: The request is wrong; nothing was stored.
            RunError: The run failed or was cancelled; the text has the vendor's words.
            StorageError: The outcome is unknown; the same id asks again.

        Crash safety:
            Once it is accepted the run goes on whatever happens to this process. With an id of your own, calling
            again after a crash finds the same run.

        Example:
            response = await rojak.run(agent=agent, messages="Book a table for 4 guests.")
            assert response.context_variables == {"booked": 4}
        """
        owner, commands = await self._run_request(
            id, agent, messages, context_variables, max_turns, debug, max_model_calls
        )
        return await self._caller.answer(owner, owner.id, commands)

    async def start_run(
        self,
        id: str | None = None,
        agent: Agent | None = None,
        messages: MessageInput = (),
        context_variables: ContextVariables | None = None,
        max_turns: int | float = math.inf,
        debug: bool = False,
        *,
        max_model_calls: int | float = DEFAULT_MODEL_CALLS,
    ) -> RunHandle:
        """Start a run and return at once, as soon as it is durable. See `run`.

        Example:
            handle = await rojak.start_run("table-7", agent, "Book a table for 4 guests.")
            assert (await handle.result()).id == "table-7"
        """
        owner, commands = await self._run_request(
            id, agent, messages, context_variables, max_turns, debug, max_model_calls
        )
        await self._caller.ask(owner, Ask(commands=commands))
        return RunHandle(self._caller, owner)

    async def stream(
        self,
        id: str | None = None,
        agent: Agent | None = None,
        messages: MessageInput = (),
        context_variables: ContextVariables | None = None,
        max_turns: int | float = math.inf,
        debug: bool = False,
        *,
        max_model_calls: int | float = DEFAULT_MODEL_CALLS,
    ) -> AsyncGenerator[SessionEvent, None]:
        """Run an agent and see its events as they happen, the words of its answers too: `async for event in ...`.

        The same run as `run` makes: it writes the same record and has the same result, which `get_run_result` gives.
        The last event is a `RunEndedEvent`; if the run failed or was cancelled, what `run` raises is raised behind it.
        Leaving the loop does not stop the run: `events(after=event.seq)` of a handle goes on, here or elsewhere.

        Args: as of `run`.

        Raises:
            RequestError: The request is wrong; nothing was stored.
            RunError: The run failed or was cancelled; the text has the vendor's words.
            StorageError: The outcome is unknown; the same id asks again.

        Crash safety: as of `run`. An id that was used before is told from its first event on.

        Example:
            async for event in rojak.stream(agent=agent, messages="Book a table for 4 guests."):
                if event.kind == "text_delta":
                    print(event.text, end="")
        """
        owner, commands = await self._run_request(
            id, agent, messages, context_variables, max_turns, debug, max_model_calls
        )
        async with aclosing(stream_run(self._caller, owner, owner.id, commands)) as events:
            async for event in events:
                yield event

    def get_run(self, id: str) -> RunHandle:
        """The handle of a run that was started here or anywhere. Whether there is one is found out when it is asked.

        Raises:
            InvalidId: No run can have this id.

        Example:
            handle = await rojak.start_run("table-7", agent, "Book a table for 4 guests.")
            assert (await rojak.get_run("table-7").result()).messages == (await handle.result()).messages
        """
        return RunHandle(self._caller, Owner("run", check_id(id, "run")))

    async def get_run_result(self, id: str) -> OrchestratorResponse:
        """The result of a run, waiting for it if it is still going.

        Raises:
            RunNotFound: No run has this id.
            RunError: The run failed or was cancelled.

        Example:
            await rojak.start_run("table-7", agent, "Book a table for 4 guests.")
            assert (await rojak.get_run_result("table-7")).context_variables == {"booked": 4}
        """
        run_id = check_id(id, "run")
        return await self._caller.answer(Owner("run", run_id), run_id)

    async def create_session(
        self,
        session_id: str | None = None,
        agent: Agent | None = None,
        context_variables: ContextVariables | None = None,
        max_turns: int | float = math.inf,
        history_size: int | float = 10,
        debug: bool = False,
        *,
        max_model_calls: int | float = DEFAULT_MODEL_CALLS,
        request_id: str | None = None,
    ) -> Session:
        """Begin a conversation that outlives this program.

        Args:
            session_id: Names the session; None makes one up, or takes the request's id. An id in use warns and returns
                that session unchanged.
            agent: Who answers until somebody hands over.
            context_variables: The session's first context; plain JSON data.
            max_turns: Messages each run of the session may append.
            history_size: Messages kept between runs; `float("inf")` keeps all.
            debug: Log every step.
            max_model_calls: Answers each run may take from models before it fails.
            request_id: Names this request, so that it may be repeated: the session is made once. The repetition
                returns it without a warning, and makes no other where it has been deleted since.

        Raises:
            RequestError: The request is wrong; nothing was stored.
            RequestConflict: The request id belongs to a creation with other arguments.
            SessionNotFound: This very request made the session before, and it was deleted since.

        Crash safety:
            When it returns, the session exists. If it raised, calling again either makes it or finds it.

        Example:
            session = await rojak.create_session("desk-1", agent, context_variables={"guest": "Mei"})
            await session.send_messages("Book a table for 4 guests.")
        """
        named = check_id(request_id, "request") if request_id is not None else None
        session_id = named if session_id is None else check_id(session_id, "session")
        owner = Owner("session", session_id or self._new_id())
        opening = OpenSession(
            owner_kind="session",
            owner_id=owner.id,
            incarnation=self._new_id(),
            agent=await self._caller.prepare(agent),
            context_variables=read_context(context_variables),
            max_turns=read_limit(max_turns, "max_turns"),
            max_model_calls=read_model_calls(max_model_calls),
            history_size=read_limit(history_size, "history_size"),
            debug=read_flag(debug, "debug"),
        )
        reply = await self._caller.ask(owner, Ask(commands=(_named_creation(opening, named),)))
        if not reply.created:
            warnings.warn(
                "A session with this ID is already running. Returning the existing session.",
                UserWarning,
                stacklevel=2,
            )
        return Session(self._caller, owner)

    async def get_session(self, session_id: str) -> Session:
        """An existing session.

        Raises:
            SessionNotFound: No session has this id.

        Example:
            same = await rojak.get_session(session.id)  # here, in another program, or tomorrow
            assert await same.history() == await session.history()
        """
        owner = Owner("session", check_id(session_id, "session"))
        await self._caller.ask(owner, Ask(view=True))
        return Session(self._caller, owner)

    async def resume_session(self, session_id: str, *, request_id: str | None = None) -> None:
        """Go on with a session that was set aside because it kept ending its process; no effect on others.

        Args:
            session_id: Which.
            request_id: Names this request, so that it may be repeated: a session set aside anew since then stays so.

        Raises:
            SessionNotFound: No session has this id.

        Crash safety:
            Durable when it returns; repeating it is harmless.
        """
        owner = Owner("session", check_id(session_id, "session"))
        await self._caller.ask(owner, Ask(commands=(self._resume(request_id),)))

    async def delete_session(self, session_id: str, *, request_id: str | None = None) -> None:
        """Cancel what a session runs and remove what it ever stored. Its id may be used again, for another session.

        What stays are a few small objects without content: they keep an old process of the deleted session from
        writing into a new one of the same id, and remember the requests that made and deleted it.

        Args:
            session_id: Which.
            request_id: Names this request, so that it may be repeated: a session that has got the id since then stays.

        Raises:
            SessionNotFound: No session ever had this id.
            StorageError: It may be deleted in part; deleting again goes on.

        Crash safety:
            When it returns, everything is gone. Once the deletion is recorded it is finished by whoever opens the
            session next. Deleting what was deleted does nothing.

        Example:
            await rojak.delete_session(session.id)
        """
        owner = Owner("session", check_id(session_id, "session"))
        await self._caller.ask(owner, Ask(commands=(self._deletion(request_id),)))

    async def resume_run(self, id: str, *, request_id: str | None = None) -> None:
        """Go on with a run outside sessions that was set aside. See `resume_session`."""
        await self._caller.ask(Owner("run", check_id(id, "run")), Ask(commands=(self._resume(request_id),)))

    async def delete_run(self, id: str, *, request_id: str | None = None) -> None:
        """Cancel a run outside sessions and remove what it stored. See `delete_session`."""
        await self._caller.ask(Owner("run", check_id(id, "run")), Ask(commands=(self._deletion(request_id),)))

    async def create_worker(
        self,
        agent_activities: Sequence[AgentActivities] = (),
        retriever_activities: Sequence[Any] = (),
        *,
        functions: Sequence[Callable[..., Any]] = (),
    ) -> Worker:
        """Register providers and functions.

        Args:
            agent_activities: Providers with their settings; the functions in their options become known by name.
            retriever_activities: Retrievers.
            functions: More functions to be known by name.

        Raises:
            InvalidSetting: One of them is no provider, retriever or function; the text says which.
            InvalidAgent: A function cannot be described to a model; the text names it and the parameter.
            DuplicateName: Two different functions share a name.

        Example:
            await rojak.create_worker(functions=[book_table])
            await rojak.run(agent=OfflineAgent(functions=["book_table"]), messages="Book a table for 4 guests.")
        """
        activities, every = read_worker(agent_activities, retriever_activities, functions)
        worker = Worker(self._gateway, activities, every)
        await worker.register()
        return worker

    async def _run_request(
        self,
        run_id: str | None,
        agent: Agent | None,
        messages: MessageInput,
        context_variables: ContextVariables | None,
        max_turns: int | float,
        debug: bool,
        max_model_calls: int | float,
    ) -> tuple[Owner, tuple[Command, ...]]:
        """Check everything, before anything is stored, and put it into commands."""
        named = check_id(run_id, "run") if run_id is not None else None
        records = read_messages(messages)
        context = read_context(context_variables)
        limit, model_calls = read_limit(max_turns, "max_turns"), read_model_calls(max_model_calls)
        spec = await self._caller.prepare(agent)
        owner = Owner("run", named or self._new_id())  # once connected: the way knows which ids are answered soonest
        content = messages_identity(records)
        opening = OpenSession(
            owner_kind="run",
            owner_id=owner.id,
            incarnation=self._new_id(),
            agent=spec,
            context_variables=context,
            max_turns=limit,
            max_model_calls=model_calls,
            debug=read_flag(debug, "debug"),
        )
        digest = input_digest(spec, content, context, limit, model_calls)
        providers = await self._gateway.providers()
        return owner, (
            opening,
            StartRun(run_id=owner.id, input_digest=digest, messages=records, providers=providers),
        )

    def _new_id(self) -> str:
        return self._caller.ids.new_id()

    def _resume(self, request_id: str | None) -> Resume:
        return Resume(request_id=check_id(request_id, "request") if request_id is not None else self._new_id())

    def _deletion(self, request_id: str | None) -> Delete:
        if request_id is None:
            return Delete(request_id=self._new_id())  # for what the transport repeats
        return Delete(request_id=check_id(request_id, "request"), lasting=True)


def _named_creation(opening: OpenSession, request_id: str | None) -> OpenSession:
    """The creation with its caller's name for it, and what he asked for under that name."""
    if request_id is None:
        return opening
    settings = opening.model_dump(mode="json", exclude={"agent", "incarnation", "request_id", "input_digest"})
    content = digest({"agent": agent_identity(opening.agent), **settings})
    return opening.model_copy(update={"request_id": request_id, "input_digest": content})
