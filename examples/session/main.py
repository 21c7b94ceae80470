"""A session keeps the conversation and its context variables between messages, and between programs."""

import asyncio
import sys
import warnings

from rojak_ray import OfflineAgent, Rojak
from rojak_ray.testing.runtime import InProcessRuntime


def instructions(context_variables: dict):
    return f"You keep a shopping list. On it: {', '.join(context_variables['items']) or 'nothing'}."


def add_item(item: str, context_variables: dict):
    """Put an item on the shopping list.

    Args:
        item: What to buy.
        context_variables: Filled in here; no model sees it.
    """
    context_variables["items"].append(item)  # changes in place are kept
    return f"{len(context_variables['items'])} on the list."


agent = OfflineAgent(name="Shopper", instructions=instructions, functions=[add_item])


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # run this twice: the session is there already
            session = await rojak.create_session("shopping", agent, context_variables={"items": []})
        await session.send_messages("Add item 'laksa paste'.")
        await session.send_messages("Add item 'coconut milk'.")

        same = await rojak.get_session("shopping")  # any other program could ask this
        result = await same.get_result()
        print(result.context_variables["items"])
        print(f"{len(await same.history())} messages in the history")


asyncio.run(main())
