"""Crash: a run kills the process it lives in, and goes on where it was. Finished steps are not repeated.

Four steps: three function calls and the answers between them. The second function, when it is called for the first
time, kills the Ray actor that holds the conversation. Ray starts the actor again, which reads the journal: what is
recorded is not done again, what was under way is.

It needs Ray; there is no process to kill with the in-process runtime.
"""

import asyncio
import secrets
import tempfile
import threading
from pathlib import Path

import ray

from rojak_ray import Agent, AgentActivities, AgentCallParams, AgentResponse, Rojak, ToolContext
from rojak_ray.agents import AgentToolCall, ToolCallFunction


def note(diary: str, line: str) -> None:
    """Append a line to a file outside of everything that is recorded: the witness of what really ran."""
    with Path(diary).open("a") as file:
        file.write(f"{line}\n")


def buy_flour(context: ToolContext) -> str:
    """Buy flour."""
    note(context.context_variables["diary"], "flour is bought")
    return "A kilo of flour."


def bake_bread(context: ToolContext) -> str:
    """Bake bread, with an accident."""
    # `context.idempotency_key` is the same in both attempts: a server that knows such keys does the thing once.
    note(context.context_variables["diary"], f"bread is baked (attempt {context.attempt})")
    if context.attempt == 1:
        name = f"SessionActor-{context.context_variables['session']}"  # actors of sessions with plain ids are named so
        found = next(one for one in ray.util.list_named_actors(all_namespaces=True) if one["name"] == name)
        ray.kill(ray.get_actor(**found), no_restart=False)
        threading.Event().wait()  # this attempt never returns: it ends with the actor that asked for it
    return "A warm loaf."


def sell_bread(context: ToolContext) -> str:
    """Sell the bread."""
    note(context.context_variables["diary"], "bread is sold")
    return "Sold for $4."


class BakerActivities(AgentActivities):
    """Instead of a model: asks for one function after another, then says what they returned."""

    type = "baker"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        """Every question to the model is a step of its own, and recorded as function calls are."""
        results = [message.content for message in params.messages if message.role == "tool"]
        if len(results) == len(params.function_names):
            return AgentResponse(content=" ".join(map(str, results)))
        call = ToolCallFunction(params.function_names[len(results)])
        return AgentResponse(type="tool", tool_calls=[AgentToolCall(f"call-{len(results)}", call)])


baker = Agent(model="none", type="baker", name="Baker", functions=[buy_flour, bake_bread, sell_bread])


async def main(diary: str) -> None:
    async with Rojak(placement="dedicated") as rojak:  # an actor for this session alone, so that no other is killed
        await rojak.create_worker([BakerActivities()])
        session_id = f"bakery-{secrets.token_hex(3)}"
        session = await rojak.create_session(session_id, baker, {"diary": diary, "session": session_id})

        # Nothing here knows of the accident: the call waits, and answers. Had this program been killed as well, the
        # same line with the same request_id would get the same answer tomorrow.
        response = await session.send_messages("Bread, please.", request_id="the first loaf")
        print(response.messages[-1].content)


with tempfile.TemporaryDirectory() as folder:
    witness = Path(folder) / "diary.txt"
    asyncio.run(main(str(witness)))
    print(witness.read_text(), end="")
