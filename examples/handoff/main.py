"""Handoffs there and back, with what was learned on the way kept in the context variables."""

import asyncio
import sys

from rojak_ray import AgentExecuteFnResult, OfflineAgent, Rojak
from rojak_ray.testing.runtime import InProcessRuntime


def transfer_to_refunds(order_number: str):
    """Hand the customer to Refunds, who gives money back for an order.

    Args:
        order_number: The order to refund.
    """
    return AgentExecuteFnResult(
        output=f"Transferred order {order_number}", agent=refunds, context_variables={"order_number": order_number}
    )


def transfer_to_triage():
    """Hand the customer back to Triage, for all other questions."""
    return triage


def refund(context_variables: dict):
    """Refund the order and give the money back."""
    context_variables["refunded"] = True
    return f"Order {context_variables['order_number']} is refunded."


triage = OfflineAgent(name="Triage", functions=[transfer_to_refunds])
refunds = OfflineAgent(name="Refunds", functions=[refund, transfer_to_triage])


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        session = await rojak.create_session(agent=triage)
        for line in ("I want a refund for order 4711.", "Back to triage, please."):
            response = await session.send_messages(line)
            speakers = [message.sender for message in response.messages if message.role == "assistant"]
            print(f"{line} | {' -> '.join(dict.fromkeys(speakers))} | {response.context_variables}")


asyncio.run(main())
