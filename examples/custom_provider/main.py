"""A provider of one's own: an agent type, and who answers for it."""

import asyncio
import sys

from rojak_ray import Agent, AgentActivities, AgentResponse, Rojak
from rojak_ray.agents import AgentToolCall, ToolCallFunction
from rojak_ray.testing.runtime import InProcessRuntime


class ShoutingAgent(Agent):
    """An agent whose model is this program."""

    type: str = "shouting"
    model: str = "loud-1"
    marks: int = 3


class ShoutingActivities(AgentActivities):
    """Asks for a function once, then shouts what it returned."""

    type = "shouting"

    async def call(self, params):
        """Answer. A real provider would ask its server here."""
        last = params.messages[-1]
        if last.role == "user" and params.function_names:
            call = ToolCallFunction(params.function_names[0])
            return AgentResponse(type="tool", tool_calls=[AgentToolCall("call-1", call)])
        return AgentResponse(content=f"{last.content}!".upper())


def whisper():
    """Say something quietly."""
    return "hello from a function"


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        await rojak.create_worker([ShoutingActivities()])
        response = await rojak.run(agent=ShoutingAgent(name="Loud", functions=[whisper]), messages="Psst.")
        print(f"{response.agent.name}: {response.messages[-1].content} ({response.agent.marks} marks kept)")


asyncio.run(main())
