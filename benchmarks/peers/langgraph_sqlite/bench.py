"""LangChain's agent on LangGraph with the SQLite checkpointer, each step written before the next ("sync")."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, ClassVar

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.peers import driver


class LangGraph:
    """A conversation is a thread of the checkpointer."""

    packages: ClassVar[tuple[str, ...]] = (
        "langgraph",
        "langgraph-checkpoint-sqlite",
        "langchain",
        "langchain-openai",
        "openai",
    )

    def __init__(self, setup: driver.Setup) -> None:
        self._setup = setup
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> LangGraph:
        path = self._setup.folder / "checkpoints.sqlite"
        saver = await self._stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(path)))
        model = ChatOpenAI(model=driver.MODEL, base_url=self._setup.url, api_key="bench", max_retries=0)
        self._agent = create_agent(model, [driver.add], system_prompt=driver.INSTRUCTIONS, checkpointer=saver)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def turn(self, conversation: str, text: str) -> str:
        """A run of the graph on the thread."""
        return await self._invoke(conversation, {"messages": [{"role": "user", "content": text}]})

    once = turn

    async def resume(self, conversation: str) -> str:
        """The caller knows the thread, and runs it again without input."""
        return await self._invoke(conversation, None)

    async def _invoke(self, conversation: str, state: Any) -> str:
        config: Any = {"configurable": {"thread_id": conversation}}
        result = await self._agent.ainvoke(state, config, durability="sync")
        return result["messages"][-1].content


if __name__ == "__main__":
    driver.main(LangGraph)
