"""A conversation of the OpenAI Agents SDK as a Temporal workflow: every turn is an update."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from agents import Agent, Runner
    from temporalio.openai_agents.workflow import activity_as_tool

    from benchmarks.peers import driver


@activity.defn
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return driver.add(a, b)


def calculator() -> Agent[None]:
    """The agent; its tool is an activity, as it must be to be done once."""
    tool = activity_as_tool(add, start_to_close_timeout=timedelta(seconds=10))
    return Agent(name="A", model=driver.MODEL, instructions=driver.INSTRUCTIONS, tools=[tool])


@workflow.defn
class Conversation:
    """Keeps the history in the workflow."""

    def __init__(self) -> None:
        self._items: list[Any] = []

    @workflow.run
    async def run(self) -> None:
        """Stay until cancelled."""
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def send(self, text: str) -> str:
        """One turn."""
        result = await Runner.run(calculator(), [*self._items, {"role": "user", "content": text}])
        self._items = result.to_input_list()
        return result.final_output


@workflow.defn
class Single:
    """One message that nothing follows."""

    @workflow.run
    async def run(self, text: str) -> str:
        """The answer."""
        return (await Runner.run(calculator(), text)).final_output
