"""This project: on Ray with shared hosts or an actor for each session, and without Ray in one process."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, ClassVar

from benchmarks.peers import driver
from rojak_ray import OpenAIAgent, Rojak, ScheduleIntervalSpec, ScheduleSpec
from rojak_ray.agents import OpenAIAgentActivities, OpenAIAgentOptions


class RojakOnRay:
    """Variants: shared, dedicated, in-process. `server` is the bucket, if there is one."""

    packages: ClassVar[tuple[str, ...]] = ("ray", "openai", "pydantic")

    def __init__(self, setup: driver.Setup) -> None:
        self._variant = setup.variant
        storage = setup.server or str(setup.folder / "storage")
        if setup.variant == "in-process":
            from rojak_ray.testing.runtime import InProcessRuntime

            self._rojak: Any = InProcessRuntime(storage)
        else:
            placement = "dedicated" if setup.variant == "dedicated" else "shared"
            self._rojak = Rojak(storage, address="local", placement=placement)
        self._options = OpenAIAgentOptions(api_key="bench", base_url=setup.url)
        self._stack = AsyncExitStack()
        self._sessions: dict[str, Any] = {}
        self._agent = OpenAIAgent(
            name="A", model=driver.MODEL, instructions=driver.INSTRUCTIONS, functions=[driver.add]
        )

    async def __aenter__(self) -> RojakOnRay:
        await self._stack.enter_async_context(self._rojak)
        await self._rojak.create_worker([OpenAIAgentActivities(self._options)], functions=[driver.add])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def turn(self, conversation: str, text: str) -> str:
        """A session keeps the history. On shared hosts the interrupted turn is a run, which has an id to ask for."""
        if conversation == driver.CRASH_ID and self._variant != "dedicated":
            response = await self._rojak.run(id=driver.CRASH_ID, agent=self._agent, messages=text)
            return response.messages[-1].content
        session = self._sessions.get(conversation)
        if session is None:
            session = await self._rojak.create_session(conversation, self._agent, history_size=math.inf)
            self._sessions[conversation] = session
        return (await session.send_messages(text)).messages[-1].content

    async def once(self, conversation: str, text: str) -> str:
        """A run."""
        return (await self._rojak.run(agent=self._agent, messages=text)).messages[-1].content

    async def resume(self, conversation: str) -> str:
        """What was in flight goes on by itself once anybody connects; wait for its answer."""
        if self._variant != "dedicated":
            return (await self._rojak.get_run_result(driver.CRASH_ID)).messages[-1].content
        session = await self._rojak.get_session(conversation)
        while not (result := await session.get_result()).messages:  # noqa: ASYNC110 (another process answers)
            await asyncio.sleep(0.02)
        return result.messages[-1].content

    async def schedule(self, schedule_id: str, every_s: int, offset_s: float, text: str) -> None:
        """An interval with an offset."""
        interval = ScheduleIntervalSpec(every=timedelta(seconds=every_s), offset=timedelta(seconds=offset_s))
        await self._rojak.create_schedule(schedule_id, ScheduleSpec(intervals=[interval]), self._agent, text)


if __name__ == "__main__":
    driver.main(RojakOnRay)
