"""The durable hello world of Rojak 0.2.1. Needs a Temporal server."""

import asyncio
import os

from rojak import Rojak
from rojak.agents import OpenAIAgent, OpenAIAgentActivities, OpenAIAgentOptions
from rojak.types import ConversationMessage
from temporalio.client import Client


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async def main():
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    rojak = Rojak(client, task_queue="hello")
    worker = await rojak.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(all_functions=[add]))])
    async with worker:
        agent = OpenAIAgent(name="Calculator", instructions="You are a calculator.", functions=["add"])
        messages = [ConversationMessage(role="user", content="What is one plus two?")]
        response = await rojak.run("hello", agent, messages)
        print(response.messages[-1].content)


asyncio.run(main())
