"""The whole product without Ray: what was said survives the runtime, because only storage is durable."""

import asyncio
import tempfile

from rojak_ray import OfflineAgent
from rojak_ray.testing.runtime import InProcessRuntime


def remember(name: str, context_variables: dict) -> str:
    """Remember a name.

    Args:
        name: Whose.
        context_variables: Gets the name; no model sees this parameter.
    """
    context_variables["name"] = name
    return f"Noted: {name}."


agent = OfflineAgent(name="Clerk", functions=[remember])


async def main():
    with tempfile.TemporaryDirectory() as folder:
        async with InProcessRuntime(folder) as first:
            session = await first.create_session("clerk", agent)
            await session.send_messages("Remember the name 'Mei'.")

        async with InProcessRuntime(folder) as second:  # as after a crash or in another program
            session = await second.get_session("clerk")
            print((await session.get_result()).context_variables)
            print([message.role for message in await session.history()])


asyncio.run(main())
