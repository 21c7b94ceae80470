"""The OpenAI Agents SDK on DBOS with SQLite, through DBOS's own integration.

DBOS keeps workflows, not conversations: the program holds the history and passes it in, as its guide does.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

from agents import Agent, ModelSettings, function_tool, set_default_openai_api, set_default_openai_client
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos_openai_agents import DBOSRunner
from openai import AsyncOpenAI

from benchmarks.peers import driver


@function_tool
@DBOS.step()
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return driver.add(a, b)


calculator = Agent[None](
    name="A", model=driver.MODEL, instructions=driver.INSTRUCTIONS, tools=[add], model_settings=ModelSettings()
)


@DBOS.workflow()
async def answer(items: list[Any]) -> list[Any]:
    """One turn; returns what it adds to the history, the answer last."""
    result = await DBOSRunner.run(calculator, items)
    return [*result.to_input_list()[len(items) :], result.final_output]


class AgentsOnDbos:
    """A turn is a workflow."""

    packages: ClassVar[tuple[str, ...]] = ("dbos", "dbos-openai-agents", "openai-agents", "openai")

    def __init__(self, setup: driver.Setup) -> None:
        set_default_openai_client(
            AsyncOpenAI(api_key="bench", base_url=setup.url, max_retries=0), use_for_tracing=False
        )
        set_default_openai_api("chat_completions")
        database = f"sqlite:///{setup.folder / 'dbos.sqlite'}"
        DBOS(config=DBOSConfig(name="bench", system_database_url=database, log_level="ERROR"))
        self._histories: dict[str, list[Any]] = {}

    async def __aenter__(self) -> AgentsOnDbos:
        DBOS.launch()
        return self

    async def __aexit__(self, *_: object) -> None:
        DBOS.destroy()

    async def turn(self, conversation: str, text: str) -> str:
        """A workflow, with an id for the interrupted one so that it can be asked for again."""
        history = self._histories.setdefault(conversation, [])
        history.append({"role": "user", "content": text})
        if conversation == driver.CRASH_ID:
            with SetWorkflowID(driver.CRASH_ID):
                *added, final = await answer(history)
        else:
            *added, final = await answer(history)
        history.extend(added)
        return final

    once = turn

    async def resume(self, conversation: str) -> str:
        """DBOS went on by itself at launch; wait for the workflow."""
        handle: Any = await DBOS.retrieve_workflow_async(driver.CRASH_ID)
        return (await handle.get_result())[-1]


if __name__ == "__main__":
    driver.main(AgentsOnDbos)
