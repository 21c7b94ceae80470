"""The OpenAI Agents SDK with Temporal's own integration; worker and client in one process."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, ClassVar

from agents import OpenAIProvider
from openai import AsyncOpenAI
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
)
from temporalio.openai_agents import ModelActivityParameters, OpenAIAgentsPlugin
from temporalio.worker import Worker

from benchmarks.peers import driver, temporal_actions
from benchmarks.peers.openai_agents_temporal.workflow import Conversation, Single, add

QUEUE = "bench"


class AgentsOnTemporal:
    """A conversation is a workflow; a turn is an update of it."""

    packages: ClassVar[tuple[str, ...]] = ("openai-agents", "temporalio-openai-agents", "temporalio", "openai")

    def __init__(self, setup: driver.Setup) -> None:
        os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
        client = AsyncOpenAI(api_key="bench", base_url=setup.url, max_retries=0)
        self._plugin = OpenAIAgentsPlugin(
            model_params=ModelActivityParameters(start_to_close_timeout=timedelta(seconds=30)),  # as its README
            model_provider=OpenAIProvider(openai_client=client, use_responses=False),
        )
        self._server = setup.server
        self._stack = AsyncExitStack()
        self._handles: dict[str, Any] = {}
        self._runs = 0

    async def __aenter__(self) -> AgentsOnTemporal:
        self._client = await Client.connect(self._server, plugins=[self._plugin])
        worker = Worker(self._client, task_queue=QUEUE, workflows=[Conversation, Single], activities=[add])
        await self._stack.enter_async_context(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def turn(self, conversation: str, text: str) -> str:
        """An update, with an id for the interrupted one so that it can be asked for again."""
        handle = self._handles.get(conversation)
        if handle is None:
            handle = await self._client.start_workflow(Conversation.run, id=conversation, task_queue=QUEUE)
            self._handles[conversation] = handle
        update_id = driver.CRASH_ID if conversation == driver.CRASH_ID else None
        return await handle.execute_update(Conversation.send, text, id=update_id)

    async def once(self, conversation: str, text: str) -> str:
        """A short workflow."""
        self._runs += 1
        return await self._client.execute_workflow(
            Single.run, text, id=f"{conversation}-{self._runs}", task_queue=QUEUE
        )

    async def resume(self, conversation: str) -> str:
        """Temporal goes on by itself once a worker is there; wait for the update."""
        handle = self._client.get_workflow_handle(conversation)
        return await handle.get_update_handle(driver.CRASH_ID, result_type=str).result()

    async def schedule(self, schedule_id: str, every_s: int, offset_s: float, text: str) -> None:
        """An interval with an offset."""
        interval = ScheduleIntervalSpec(every=timedelta(seconds=every_s), offset=timedelta(seconds=offset_s))
        action = ScheduleActionStartWorkflow(Single.run, text, id=schedule_id, task_queue=QUEUE)
        await self._client.create_schedule(schedule_id, Schedule(action, ScheduleSpec(intervals=[interval])))

    async def actions(self, conversation: str) -> dict[str, int]:
        """What a conversation cost on Temporal Cloud."""
        return await temporal_actions.of(self._client, conversation)


if __name__ == "__main__":
    driver.main(AgentsOnTemporal)
