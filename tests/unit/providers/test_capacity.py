"""Calls beyond what a process may hold wait their turn: none fails, and a place is given back whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.vendor import Text, Vendor
from support.waiting import HANG_S

from rojak_ray.agents import AgentActivities, AgentCallParams, AgentResponse, OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.agents.agent import Agent
from rojak_ray.errors import ConfigError
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.capacity import LEAST_CALLS, CallSlots, calls_for
from rojak_ray.testing.runtime import InProcessRuntime


@pytest.mark.parametrize(
    ("limit", "in_use", "calls"),
    [(256, 20, 86), (1024, 50, 423), (20_000, 100, 8_700), (64, 60, LEAST_CALLS), (65_536, 0, 28_672)],
)
def test_calls_leave_descriptors_for_everything_else(limit: int, in_use: int, calls: int) -> None:
    assert calls_for(limit, in_use) == calls
    assert calls == LEAST_CALLS or in_use + 2 * calls + 64 <= limit


async def test_a_place_is_free_again_after_an_error_and_a_cancelled_wait() -> None:
    slots = CallSlots(1)
    with pytest.raises(ValueError, match="odd"):
        async with slots.taken():
            raise ValueError("odd")
    async with slots.taken():
        waiting = asyncio.create_task(_take(slots))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(HANG_S):
        await _take(slots)


async def _take(slots: CallSlots) -> None:
    async with slots.taken():
        pass


class Counting(AgentActivities):
    """Answers when it is told; counts how many wait."""

    type = "counting"

    def __init__(self, most: int) -> None:
        super().__init__()
        self._slots = CallSlots(most)
        self.now = self.most = 0

    def slot(self) -> Any:
        return self._slots.taken()

    async def call(self, params: AgentCallParams) -> AgentResponse:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return AgentResponse(type="text", content="ok")


class CountingAgent(Agent):
    type: str = "counting"
    model: str = "m"


async def test_a_crowd_waits_its_turn() -> None:
    counting = Counting(3)
    async with InProcessRuntime() as runtime:
        await runtime.create_worker([counting])
        answers = await asyncio.gather(*(runtime.run(agent=CountingAgent(), messages="hi") for _ in range(40)))
    assert [answer.output for answer in answers] == ["ok"] * 40
    assert counting.most == 3


async def test_max_concurrency_bounds_the_calls_to_a_vendor() -> None:
    async with Vendor(lambda _: Text("ok", delay=0.01)) as vendor:
        options = OpenAIAgentOptions(api_key="k", base_url=vendor.openai_url, max_concurrency=2)
        activities = OpenAIAgentActivities(options)
        params = AgentCallParams(messages=[ConversationMessage(role="user", content="hi")], model="m")

        async def call() -> AgentResponse:
            async with activities.slot():
                return await activities.call(params)

        answers = await asyncio.gather(*(call() for _ in range(12)))
        await activities.aclose()
        assert {answer.content for answer in answers} == {"ok"}
        assert len({request.connection for request in vendor.requests}) <= 2, "no third connection was ever needed"


@pytest.mark.parametrize("most", [0, -1, True, 2.5, "many"])
def test_a_bound_that_is_none_is_refused(most: Any) -> None:
    with pytest.raises(ConfigError, match="max_concurrency"):
        OpenAIAgentOptions(api_key="k", max_concurrency=most)
