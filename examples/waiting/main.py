"""A function whose result a person gives, minutes or weeks later. Meanwhile the run costs no process."""

import asyncio
import sys

from rojak_ray import OfflineAgent, Rojak, ToolContext, WaitForAnswer
from rojak_ray.testing.runtime import InProcessRuntime


def request_refund(amount: float, context: ToolContext):
    """Request a refund of some amount.

    Args:
        amount: How many dollars.
        context: Filled in here; no model sees it.
    """
    # Here a program would write to the person who decides, with the run's id and context.call_id.
    return WaitForAnswer(f"Refund ${amount:.2f}?", timeout_in_seconds=14 * 86400)


agent = OfflineAgent(name="Refunds", functions=[request_refund])


async def the_person_decides(handle):
    """Any program that knows the run's id can do this, on any day."""
    async for event in handle.events():
        if event.kind == "waiting" and event.reason == "answer":
            print(f"Somebody is asked: {event.detail}")
            await handle.answer(event.call_id, "approved by Mei")


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        handle = await rojak.start_run(agent=agent, messages="I request a refund of 12.50 dollars.")
        await the_person_decides(handle)
        response = await handle.result()
        print(response.messages[-1].content)


asyncio.run(main())
