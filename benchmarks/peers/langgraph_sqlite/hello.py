"""The durable hello world of LangGraph with SQLite."""

import asyncio

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async def main():
    async with AsyncSqliteSaver.from_conn_string("checkpoints.sqlite") as saver:
        model = ChatOpenAI(model="gpt-4o-mini")
        agent = create_agent(model, [add], system_prompt="You are a calculator.", checkpointer=saver)
        messages = [{"role": "user", "content": "What is one plus two?"}]
        config = {"configurable": {"thread_id": "hello"}}
        result = await agent.ainvoke({"messages": messages}, config, durability="sync")
        print(result["messages"][-1].content)


asyncio.run(main())
