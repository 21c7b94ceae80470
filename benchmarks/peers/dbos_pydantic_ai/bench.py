"""pydantic-ai with its DBOS capability on SQLite.

DBOS keeps workflows, not conversations: the program holds the history and passes it in.
"""

from __future__ import annotations

from typing import Any, ClassVar

from dbos import DBOS, DBOSConfig, SetWorkflowID
from pydantic_ai import Agent
from pydantic_ai.durable_exec.dbos import DBOSDurability
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.peers import driver


class PydanticAIOnDbos:
    """A turn is a workflow."""

    packages: ClassVar[tuple[str, ...]] = ("dbos", "pydantic-ai-slim", "openai")

    def __init__(self, setup: driver.Setup) -> None:
        database = f"sqlite:///{setup.folder / 'dbos.sqlite'}"
        DBOS(config=DBOSConfig(name="bench", system_database_url=database, log_level="ERROR"))
        model = OpenAIChatModel(driver.MODEL, provider=OpenAIProvider(base_url=setup.url, api_key="bench"))
        agent = Agent(model, name="calculator", instructions=driver.INSTRUCTIONS, capabilities=[DBOSDurability()])

        @agent.tool_plain
        @DBOS.step()
        async def add(a: int, b: int) -> str:
            """Add two numbers."""
            return driver.add(a, b)

        @DBOS.workflow()
        async def answer(history: list[Any], text: str) -> tuple[list[Any], str]:
            result = await agent.run(text, message_history=history)
            return result.new_messages(), result.output

        self._answer = answer
        self._histories: dict[str, list[Any]] = {}

    async def __aenter__(self) -> PydanticAIOnDbos:
        DBOS.launch()
        return self

    async def __aexit__(self, *_: object) -> None:
        DBOS.destroy()

    async def turn(self, conversation: str, text: str) -> str:
        """A workflow, with an id for the interrupted one so that it can be asked for again."""
        history = self._histories.setdefault(conversation, [])
        if conversation == driver.CRASH_ID:
            with SetWorkflowID(driver.CRASH_ID):
                added, final = await self._answer(history, text)
        else:
            added, final = await self._answer(history, text)
        history.extend(added)
        return final

    once = turn

    async def resume(self, conversation: str) -> str:
        """DBOS went on by itself at launch; wait for the workflow."""
        handle: Any = await DBOS.retrieve_workflow_async(driver.CRASH_ID)
        return (await handle.get_result())[1]


if __name__ == "__main__":
    driver.main(PydanticAIOnDbos)
