"""The durable hello world of this project. Needs nothing."""

import asyncio

from rojak_ray import OpenAIAgent, Rojak


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async def main():
    async with Rojak() as rojak:
        agent = OpenAIAgent(name="Calculator", instructions="You are a calculator.", functions=[add])
        response = await rojak.run(agent=agent, messages="What is one plus two?", id="hello")
        print(response.messages[-1].content)


asyncio.run(main())
