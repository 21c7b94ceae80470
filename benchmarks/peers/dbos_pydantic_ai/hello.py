"""The durable hello world of pydantic-ai on DBOS with SQLite."""

import asyncio

from dbos import DBOS, DBOSConfig
from pydantic_ai import Agent
from pydantic_ai.durable_exec.dbos import DBOSDurability

DBOS(config=DBOSConfig(name="hello", system_database_url="sqlite:///hello.sqlite"))
agent = Agent(
    "openai-chat:gpt-4o-mini",
    name="calculator",
    instructions="You are a calculator.",
    capabilities=[DBOSDurability()],
)


@agent.tool_plain
@DBOS.step()
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@DBOS.workflow()
async def answer(text: str) -> str:
    return (await agent.run(text)).output


async def main():
    DBOS.launch()
    print(await answer("What is one plus two?"))


asyncio.run(main())
