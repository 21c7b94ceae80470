"""Functions: typed arguments, time limits, calls that must not be repeated, and what a call can know about itself."""

import asyncio
import sys
from typing import Literal

from rojak_ray import OfflineAgent, Rojak, ToolContext, function
from rojak_ray.testing.runtime import InProcessRuntime


@function(timeout=1)
async def exchange_rate(currency: Literal["EUR", "SGD", "USD"]) -> float:
    """Look up the exchange rate of a currency.

    Args:
        currency: Three letters.
    """
    if currency == "EUR":
        await asyncio.sleep(60)  # a slow server: the model is told that it took too long
    return {"SGD": 1.0, "USD": 0.77}[currency]


@function(at_most_once=True)
def charge_card(amount: float, call: ToolContext) -> str:
    """Charge an amount of money to the credit card, once: a crash in between is reported and not repeated.

    Args:
        amount: How much, in dollars.
        call: Filled in here; no model sees it.
    """
    return f"charged ${amount:.2f} for {call.agent_name} (attempt {call.attempt}, key {call.idempotency_key[:8]}...)"


def average(numbers: list[float]) -> float:
    """Compute the average of numbers. It runs as a Ray task with the CPUs it asks for (one, unless told otherwise)."""
    return sum(numbers) / len(numbers)


agent = OfflineAgent(name="Cashier", functions=[exchange_rate, charge_card, average])


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        for question in (
            "What is the exchange rate of USD?",
            "What is the exchange rate of EUR?",
            "Charge the card an amount of 12.5.",
            "Compute the average of 1, 2 and 6.",
        ):
            response = await rojak.run(agent=agent, messages=question)
            print(f"{question} {response.messages[-1].content}")


asyncio.run(main())
