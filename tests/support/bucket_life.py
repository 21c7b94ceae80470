"""A process of its own for tests of recovery: it runs one conversation on a storage URL, as far as it is let."""

import asyncio
from pathlib import Path

from support.plan import PlanActivities, PlanAgent, plan

from rojak_ray import ToolContext
from rojak_ray.testing.runtime import InProcessRuntime


async def live(storage: str, effects: str) -> str | None:
    """Run the story, or go on with it; its last words."""

    def write(text: str, key: str, attempt: int) -> None:
        with open(effects, "a") as file:
            file.write(f"{text} {key} {attempt}\n")

    async def note(context: ToolContext) -> str:
        write("noted", context.idempotency_key, context.attempt)
        return "noted"

    async def wait_for_go(context: ToolContext) -> str:
        write("waiting", context.idempotency_key, context.attempt)
        while not Path(f"{effects}.go").exists():
            await asyncio.sleep(0.02)
        return "went"

    async with InProcessRuntime(storage) as runtime:
        await runtime.create_worker([PlanActivities()], functions=[note, wait_for_go])
        agent = PlanAgent(name="A", functions=["note", "wait_for_go"])
        response = await runtime.run("story", agent, plan([["note", {}]], [["wait_for_go", {}]], "done"))
    return response.messages[-1].content
