"""The durable hello world of the OpenAI Agents SDK on DBOS with SQLite."""

import asyncio

from agents import Agent, function_tool, set_default_openai_api
from dbos import DBOS, DBOSConfig
from dbos_openai_agents import DBOSRunner


@function_tool
@DBOS.step()
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


agent = Agent(name="Calculator", instructions="You are a calculator.", tools=[add])


@DBOS.workflow()
async def answer(text: str) -> str:
    return (await DBOSRunner.run(agent, text)).final_output


async def main():
    set_default_openai_api("chat_completions")
    DBOS(config=DBOSConfig(name="hello", system_database_url="sqlite:///hello.sqlite"))
    DBOS.launch()
    print(await answer("What is one plus two?"))


asyncio.run(main())
