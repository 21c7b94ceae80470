"""The hello world of this project without Ray: one process, the same journal."""

import asyncio

from rojak_ray import OpenAIAgent
from rojak_ray.testing.runtime import InProcessRuntime


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async def main():
    async with InProcessRuntime("storage") as rojak:
        agent = OpenAIAgent(name="Calculator", instructions="You are a calculator.", functions=[add])
        response = await rojak.run(agent=agent, messages="What is one plus two?", id="hello")
        print(response.messages[-1].content)


asyncio.run(main())
