"""Testing agents: pytest functions on the in-process runtime, in milliseconds and without Ray.

pytest examples/testing/main.py
"""

import asyncio

from rojak_ray import OfflineAgent
from rojak_ray.testing.runtime import InProcessRuntime


def book_table(guests: int, context_variables: dict) -> str:
    """Book a table for a number of guests."""
    if guests > 8:
        raise ValueError("The largest table has 8 seats.")
    context_variables["booked"] = guests
    return f"A table for {guests} is booked."


agent = OfflineAgent(name="Host", functions=[book_table])


def ask(message: str):
    """What the agent answers; real journal, real loop, only Ray is missing."""

    async def run():
        async with InProcessRuntime() as runtime:
            return await runtime.run(agent=agent, messages=message)

    return asyncio.run(run())


def test_booking_is_kept_in_the_context():
    response = ask("Book a table for 4 guests.")
    assert response.context_variables == {"booked": 4}
    assert "booked" in response.messages[-1].content


def test_too_many_guests_are_told_to_the_model_and_nothing_is_kept():
    response = ask("Book a table for 20 guests.")
    assert any("ValueError: The largest table" in (message.content or "") for message in response.messages)
    assert response.context_variables == {}


if __name__ == "__main__":
    test_booking_is_kept_in_the_context()
    test_too_many_guests_are_told_to_the_model_and_nothing_is_kept()
    print("2 tests passed")
