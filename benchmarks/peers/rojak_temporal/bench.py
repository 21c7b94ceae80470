"""The ancestor, Rojak 0.2.1, on a Temporal server; worker and client in one process, as its README shows."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, ClassVar

from rojak import Rojak, ScheduleIntervalSpec, ScheduleSpec
from rojak.agents import OpenAIAgent, OpenAIAgentActivities, OpenAIAgentOptions
from rojak.types import ConversationMessage
from rojak.workflows import OrchestratorResponse, OrchestratorWorkflow, SendMessagesParams
from temporalio.client import Client

from benchmarks.peers import driver, temporal_actions

HISTORY = 100_000  # all of it, as everybody else keeps


class RojakOnTemporal:
    """A session is a workflow; a turn is an update of it."""

    packages: ClassVar[tuple[str, ...]] = ("rojak", "temporalio", "openai")

    def __init__(self, setup: driver.Setup) -> None:
        os.environ["OPENAI_BASE_URL"] = setup.url
        self._setup = setup
        self._stack = AsyncExitStack()
        self._sessions: dict[str, Any] = {}
        self._runs = 0
        self._agent = OpenAIAgent(name="A", model=driver.MODEL, instructions=driver.INSTRUCTIONS, functions=["add"])

    async def __aenter__(self) -> RojakOnTemporal:
        self._client = await Client.connect(self._setup.server)
        self._rojak = Rojak(self._client, "bench")
        activities = OpenAIAgentActivities(OpenAIAgentOptions(api_key="bench", all_functions=[driver.add]))
        await self._stack.enter_async_context(await self._rojak.create_worker([activities]))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def turn(self, conversation: str, text: str) -> str:
        """What `Session.send_messages` does, with an id for the interrupted one so that it can be asked for again."""
        session = self._sessions.get(conversation)
        if session is None:
            session = await self._rojak.create_session(conversation, self._agent, history_size=HISTORY)
            self._sessions[conversation] = session
        response = await session.workflow_handle.execute_update(
            OrchestratorWorkflow.send_messages,
            SendMessagesParams([ConversationMessage("user", text)], self._agent),
            id=driver.CRASH_ID if conversation == driver.CRASH_ID else None,
            result_type=OrchestratorResponse,
        )
        return response.messages[-1].content

    async def once(self, conversation: str, text: str) -> str:
        """A short workflow."""
        self._runs += 1
        messages = [ConversationMessage("user", text)]
        response = await self._rojak.run(f"{conversation}-{self._runs}", self._agent, messages)
        return response.messages[-1].content

    async def resume(self, conversation: str) -> str:
        """Temporal goes on by itself once a worker is there; wait for the update."""
        handle = self._client.get_workflow_handle(conversation)
        update = handle.get_update_handle(driver.CRASH_ID, result_type=OrchestratorResponse)
        messages = (await update.result()).messages
        if not messages:  # a step may take 60 s in all, so the activity that died with its worker is never repeated
            raise driver.NoNumber("the turn is lost: after 60 s its update returns an empty result, without an error")
        return messages[-1].content

    async def schedule(self, schedule_id: str, every_s: int, offset_s: float, text: str) -> None:
        """An interval with an offset."""
        interval = ScheduleIntervalSpec(every=timedelta(seconds=every_s), offset=timedelta(seconds=offset_s))
        spec = ScheduleSpec(intervals=[interval])
        await self._rojak.create_schedule(schedule_id, spec, self._agent, [ConversationMessage("user", text)])

    async def actions(self, conversation: str) -> dict[str, int]:
        """What a conversation cost on Temporal Cloud."""
        return await temporal_actions.of(self._client, conversation)


if __name__ == "__main__":
    driver.main(RojakOnTemporal)
