"""Weather: functions that the model calls, and context variables that it never sees.

The conversation of Rojak's own README: one agent answers with two functions. What the program knows and the model need
not know (units, who the user is) goes in context variables, and so does what functions remember for each other.
"""

import asyncio
import os
import sys
from typing import Any, Literal

from rojak_ray import OfflineAgent, OpenAIAgent, Rojak
from rojak_ray.testing.runtime import InProcessRuntime

ChatAgent = OpenAIAgent if os.environ.get("OPENAI_API_KEY") else OfflineAgent  # the latter needs no key and no network

FORECASTS = {
    "Singapore": {"today": 31, "tomorrow": 29},
    "Berlin": {"today": 4, "tomorrow": -2},
}  # a real one asks a server


# The model is shown the name, the first paragraph, the type of each parameter and what `Args` says of it. A wrong
# argument ("next week") never gets here: the model is told what is allowed and tries again.
def get_weather(
    city: str, day: Literal["today", "tomorrow"] = "today", context_variables: dict[str, Any] | None = None
) -> str:
    """Get the weather in a city.

    Args:
        city: Its name.
        day: When.
        context_variables: The conversation's; a parameter of this name is filled in here, and no model sees it.
    """
    assert context_variables is not None
    celsius = FORECASTS[city][day]  # a KeyError is no end of the run: the model reads "KeyError: 'Atlantis'"
    text = f"{celsius} °C" if context_variables["units"] == "metric" else f"{celsius * 9 // 5 + 32} °F"
    context_variables["last_report"] = f"{city}, {day}: {text}"  # a change in place is kept, once the result is
    return text


def send_email(recipient: str, context_variables: dict[str, Any]) -> str:
    """Send the last weather report by email.

    Args:
        recipient: An address.
        context_variables: Filled in here.
    """
    report = context_variables.get("last_report")
    if report is None:
        raise ValueError("There is no report yet. Get the weather first.")  # written for the model, which reads it
    return f"Sent to {recipient}: {report}"


def instructions(context_variables: dict[str, Any]) -> str:
    """Written anew before each answer, with what the conversation knows by then."""
    return f"You help {context_variables['user']} with the weather. Use your functions, and make nothing up."


agent = ChatAgent(name="Forecaster", instructions=instructions, functions=[get_weather, send_email])


async def main() -> None:
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        session = await rojak.create_session(agent=agent, context_variables={"user": "Mei", "units": "metric"})
        for question in (
            "Send an email to mei@example.com.",  # too early: the function says so
            "What is the weather in Singapore?",
            "And the weather tomorrow in Berlin?",
            "Send an email to mei@example.com.",
        ):
            response = await session.send_messages(question)
            print(f"{question} {response.messages[-1].content}")
        print(response.context_variables)


asyncio.run(main())
