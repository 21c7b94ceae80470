"""Hello: one agent hands the conversation to another."""

import asyncio
import os
import sys

from rojak_ray import OfflineAgent, OpenAIAgent, Rojak
from rojak_ray.testing.runtime import InProcessRuntime

# Without a key, a stand-in that matches words to functions answers; everything else is the same.
ChatAgent = OpenAIAgent if os.environ.get("OPENAI_API_KEY") else OfflineAgent


def transfer_to_agent_b():
    """Hand the conversation to Agent B."""
    return agent_b


agent_a = ChatAgent(name="Agent A", instructions="You are a helpful agent.", functions=[transfer_to_agent_b])
agent_b = ChatAgent(name="Agent B", instructions="Only speak in haikus.")


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        response = await rojak.run(agent=agent_a, messages="I want to talk to agent B.")
        print(f"{response.agent.name}: {response.messages[-1].content}")


asyncio.run(main())
