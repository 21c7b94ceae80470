"""The durable hello world of the OpenAI Agents SDK on Temporal, worker and client in one. Needs a Temporal server."""

import asyncio
import os
from datetime import timedelta

from agents import Agent, OpenAIProvider, Runner
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.openai_agents import ModelActivityParameters, OpenAIAgentsPlugin
from temporalio.openai_agents.workflow import activity_as_tool
from temporalio.worker import Worker


@activity.defn
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@workflow.defn
class Calculator:
    @workflow.run
    async def run(self, text: str) -> str:
        tool = activity_as_tool(add, start_to_close_timeout=timedelta(seconds=10))
        agent = Agent(name="Calculator", instructions="You are a calculator.", tools=[tool])
        return (await Runner.run(agent, text)).final_output


async def main():
    plugin = OpenAIAgentsPlugin(
        model_params=ModelActivityParameters(start_to_close_timeout=timedelta(seconds=30)),
        model_provider=OpenAIProvider(use_responses=False),
    )
    address = os.environ.get("TEMPORAL_ADDRESS", "localhost:7233")
    client = await Client.connect(address, plugins=[plugin])
    async with Worker(client, task_queue="hello", workflows=[Calculator], activities=[add]):
        print(await client.execute_workflow(Calculator.run, "What is one plus two?", id="hello", task_queue="hello"))


if __name__ == "__main__":
    asyncio.run(main())
