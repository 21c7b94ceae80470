"""From Rojak: a program of its README, and the lines that change when it runs here. `# was:` marks each of them.

What stays: agents, functions, handoffs, context variables, messages, responses, retry options, sessions, schedules.
What goes: the Temporal client, its server, the task queue, and the wait for a worker. What is better is not visible:
functions may be async, a failed turn raises, two programs may talk to one session.
"""

import asyncio
import os
import secrets
import sys

# was: from temporalio.client import Client
# was: from rojak import Rojak
from rojak_ray import Rojak

# was: from rojak.agents import ...
from rojak_ray.agents import (
    AgentExecuteFnResult,
    OfflineAgent,
    OfflineAgentActivities,
    OpenAIAgent,
    OpenAIAgentActivities,
    OpenAIAgentOptions,
)
from rojak_ray.testing.runtime import InProcessRuntime

# was: from rojak.types import ...
from rojak_ray.types import RetryOptions, RetryPolicy


def transfer_to_sales(context_variables: dict):
    """Transfer the customer to Sales, to buy a bike."""
    # was: {**context_variables, "seen_by": ...}. What is returned is merged now; it may be the whole, as before.
    return AgentExecuteFnResult(agent=sales, context_variables={"seen_by": [*context_variables["seen_by"], "Sales"]})


def sell_bike(color: str, context_variables: dict):
    """Sell a bike of some color."""
    return f"{context_variables['customer']} gets a {color} bike."


def instructions(context_variables: dict):
    return f"Help {context_variables['customer']}."


# Without a key this example asks a stand-in; your program goes on with OpenAIAgent.
Chat = OpenAIAgent if os.environ.get("OPENAI_API_KEY") else OfflineAgent
patience = RetryOptions(timeout_in_seconds=120, retry_policy=RetryPolicy(maximum_attempts=3))

# was: OpenAIAgent(..., functions=["transfer_to_sales"]), a name that a worker knows. Names work as before; the function
# itself is safer: it is this very one that is called, whatever other programs have under the name.
triage = Chat(name="Triage", instructions=instructions, functions=[transfer_to_sales], retry_options=patience)
sales = Chat(name="Sales", instructions=instructions, functions=["sell_bike"], retry_options=patience)


async def main():
    # was: client = await Client.connect("localhost:7233")
    # was: rojak = Rojak(client, task_queue="bikes")
    rojak = InProcessRuntime() if "--in-process" in sys.argv else Rojak()

    # was: OpenAIAgentActivities(OpenAIAgentOptions(all_functions=[transfer_to_sales, sell_bike]))
    if Chat is OpenAIAgent:
        activities = OpenAIAgentActivities(OpenAIAgentOptions(all_functions=[sell_bike]))
    else:
        activities = OfflineAgentActivities()
    worker = await rojak.create_worker([activities], functions=[sell_bike])
    async with worker:  # registers; there is no queue to serve, so nothing stops when the block ends
        # unchanged: an id of one's own, messages as dictionaries, what comes back
        response = await rojak.run(
            id=secrets.token_hex(8),
            agent=triage,
            messages=[{"role": "user", "content": "Transfer me to sales."}],
            context_variables={"customer": "Mei", "seen_by": ["Triage"]},
        )
        print(response.agent.name, response.context_variables["seen_by"])

        session = await rojak.create_session(
            f"bikes-{secrets.token_hex(3)}", triage, {"customer": "Mei", "seen_by": []}
        )
        # was: await session.send_messages([...], sales). The agent may be left out now: who spoke last answers.
        await session.send_messages([{"role": "user", "content": "Transfer me to sales, please."}], triage)
        response = await session.send_messages([{"role": "user", "content": "Sell me a bike of color red."}])
        print(response.messages[-1].content)
    await rojak.close()  # was: nothing; `async with Rojak() as rojak` does the same


asyncio.run(main())
