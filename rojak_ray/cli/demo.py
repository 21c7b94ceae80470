"""`rojak demo`: a conversation with three agents, as a durable session."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import os
import select
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rojak_ray.cli.demo_agents import EXAMPLES, SCRIPT, open_stall
from rojak_ray.cli.live import LiveAnswer
from rojak_ray.cli.models import ModelChoice
from rojak_ray.cli.output import Voice, prepare_streams
from rojak_ray.clock import SystemClock
from rojak_ray.errors import RunError
from rojak_ray.sessions.client import Client
from rojak_ray.sessions.handles import Session

NAMESPACE = "demo"
START_HERE = "local"
PROMPT = "you> "

_RAY_OPTIONS = {"include_dashboard": False, "log_to_driver": False}
_FAREWELLS = {"exit", "quit", "bye", "goodbye", "q"}
_HELP = {"help", "?", "h"}
_HISTORY_SIZE = 60
_MAX_TURNS = 30
_FIRST_LINE_WAIT_S = 1.0
"""How long a pipe that nobody writes to is waited for, once the agents are ready."""


@dataclass(frozen=True)
class DemoOptions:
    """What the command line says."""

    model: ModelChoice
    storage: str | None = None
    session_id: str | None = None
    address: str | None = None
    in_process: bool = False

    @property
    def place(self) -> str:
        """Where the session is kept."""
        return self.storage or os.path.join("~", ".rojak", "demo")

    @property
    def cluster(self) -> str:
        """Which Ray to use. Another program's own Ray, which ends with that program, is never joined by chance."""
        return self.address or os.environ.get("RAY_ADDRESS") or START_HERE


def run_demo(options: DemoOptions) -> None:
    """Hold the conversation until the user or the input ends it.

    Raises:
        RojakError: Whatever kept it from being held.
        KeyboardInterrupt: The user interrupted the start or an answer.
    """
    prepare_streams()
    voice = Voice()
    activities = options.model.activities()
    voice.tell("Rojak Corner: a front desk, somebody who takes orders, and somebody who brings them.", "bold")
    voice.tell(options.model.describe())
    # One runner for many short calls: while the user types, no loop runs and Ctrl-C means what it always means.
    with asyncio.Runner() as runner:
        client = _make_client(options)
        try:
            _connect(runner, client, options, voice)
            Conversation(runner, client, options, voice, activities).hold()
        finally:
            runner.run(client.close())


def _make_client(options: DemoOptions) -> Client:
    if options.in_process:
        from rojak_ray.testing.runtime import InProcessRuntime

        return InProcessRuntime(options.place, namespace=NAMESPACE)
    from rojak_ray.runtime.client import Rojak

    return Rojak(options.place, address=options.cluster, namespace=NAMESPACE, ray_options=_RAY_OPTIONS)


def _connect(runner: asyncio.Runner, client: Client, options: DemoOptions, voice: Voice) -> None:
    if options.in_process:
        runner.run(client.__aenter__())
        return
    if options.cluster == START_HERE:
        voice.tell("Starting Ray on this machine; this takes a few seconds ...")
    else:
        voice.tell(f"Joining Ray at {options.cluster} ...")
    from rojak_ray.runtime import cluster

    clock = SystemClock()
    began = clock.monotonic()
    with voice.waiting("waiting for Ray"):
        # Here and not in the client, which would start Ray in a thread of its own: Ray ends at once only if it was
        # started by the main thread.
        cluster.connect(options.cluster, _RAY_OPTIONS)
        runner.run(client.__aenter__())
    voice.tell(f"Ray is ready after {clock.monotonic() - began:.0f} s.")


class Conversation:
    """The demo's session and the one who talks in it."""

    def __init__(
        self, runner: asyncio.Runner, client: Client, options: DemoOptions, voice: Voice, activities: list[Any]
    ) -> None:
        """Open the session, or the one to go on with."""
        self._runner = runner
        self._options = options
        self._voice = voice
        self._stall = open_stall(options.model.make_agent)
        # Registered by name too, so that an earlier session finds its functions on a new cluster.
        runner.run(client.create_worker(activities, functions=self._stall.functions))
        self._session = runner.run(self._open(client))
        config = runner.run(self._session.get_config())
        self._context = config.context_variables
        senders = [message.sender for message in config.messages if message.sender]
        self._speaker = senders[-1] if senders else self._stall.front_desk.name
        if senders:
            voice.note(f"Going on with session {self._session.id}; {self._speaker} spoke last.")
        voice.say("")

    async def _open(self, client: Client) -> Session:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an existing session is what --session asks for
            return await client.create_session(
                self._options.session_id, self._stall.front_desk, max_turns=_MAX_TURNS, history_size=_HISTORY_SIZE
            )

    def hold(self) -> None:
        """Talk until there is nothing more to say."""
        if is_terminal(sys.stdin):
            self._talk_with_person()
        else:
            for line in piped_lines(sys.stdin) or SCRIPT:
                self._voice.heard(line)
                self._exchange(line)
                self._voice.say("")
        self._say_where_it_is()

    def _talk_with_person(self) -> None:
        self._voice.tell('Say something. "help" shows examples, "exit" or Ctrl-D ends.')
        for line in typed_lines():
            command = line.lower().removeprefix("/")
            if command in _FAREWELLS:
                break
            if command in _HELP:
                for example in EXAMPLES:
                    self._voice.tell(f"  {example}")
                continue
            try:
                self._exchange(line)
            except RunError as error:
                self._voice.say(f"  No answer: {error.message}", "red")
            self._voice.say("")

    def _exchange(self, line: str) -> None:
        answer = LiveAnswer(self._voice, self._speaker)
        try:
            self._runner.run(self._listen(line, answer))
        finally:
            answer.close()
        self._speaker = answer.speaker
        context = answer.context_after(self._context)
        self._voice.context_changed(self._context, context)
        self._context = context

    async def _listen(self, line: str, answer: LiveAnswer) -> None:
        # The agent is named each time, so that an earlier session goes on with the model chosen now.
        events = self._session.stream_messages(line, self._stall.agent(self._speaker))
        with self._voice.waiting(f"{self._speaker} ..."):
            first = await anext(events)
        answer.show(first)
        async for event in events:
            answer.show(event)

    def _say_where_it_is(self) -> None:
        place, session_id = self._options.place, self._session.id
        if place.startswith("memory:"):
            self._voice.tell(f"Session {session_id} was in memory only and ends here.")
            return
        where = f" --storage {shlex.quote(place)}" if self._options.storage is not None else ""
        self._voice.tell(f"Session {session_id} is kept in {place}: every step was written there before it counted.")
        self._voice.tell(f"Go on with it: rojak demo --session {session_id}{where}", whole=True)


def is_terminal(stream: Any) -> bool:
    """Whether a person sits at the other end; a closed stream is None."""
    return stream is not None and not stream.closed and stream.isatty()


def typed_lines() -> Iterator[str]:
    """What a person types, without empty lines, until Ctrl-D or Ctrl-C."""
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # gives input() editing and history
    while True:
        try:
            line = input(PROMPT).strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line:
            yield line


def piped_lines(stream: Any) -> list[str]:
    """The lines of a pipe or file, without empty ones; none if it is closed or nobody writes to it."""
    if stream is None or stream.closed:
        return []
    try:
        readable, _, _ = select.select([stream.fileno()], [], [], _FIRST_LINE_WAIT_S)
    except (io.UnsupportedOperation, OSError, ValueError):
        readable = [stream]  # not a real file: a test's buffer
    if not readable:
        return []
    return [line.strip() for line in stream if line.strip()]
