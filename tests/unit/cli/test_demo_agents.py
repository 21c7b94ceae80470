"""The demo's agents on the offline model: what people say leads to the right function."""

from typing import Any

import pytest

from rojak_ray.agents import OfflineAgent
from rojak_ray.cli.demo_agents import EXAMPLES, SCRIPT, open_stall, place_order
from rojak_ray.sessions.types import OrchestratorResponse
from rojak_ray.testing.runtime import InProcessRuntime


async def talk(*lines: str, context: dict[str, Any] | None = None) -> OrchestratorResponse:
    async with InProcessRuntime() as runtime:
        session = await runtime.create_session("s", open_stall(OfflineAgent).front_desk, context, history_size=100)
        for line in lines:
            response = await session.send_messages(line)
    return response


def called(response: OrchestratorResponse) -> list[str]:
    return [call["function"]["name"] for message in response.messages for call in message.tool_calls or ()]


async def test_script_visits_all_agents_and_ends_with_an_order():
    response = await talk(*SCRIPT)
    assert response.agent is not None
    assert response.agent.name == "Delivery"
    kept = response.context_variables
    assert kept["order"] == {"large laksa": 2, "small rojak": 1, "regular satay": 10}
    assert (kept["guest"], kept["total"]) == ("Mei", "$34.00")
    assert kept["order_number"].startswith("R")


@pytest.mark.parametrize("example", EXAMPLES)
async def test_every_example_leads_to_a_function(example: str):
    known = {"order": {"small rojak": 1}, "total": "$4.00"}
    response = await talk("I want to order", example, context=known)
    assert called(response)


@pytest.mark.parametrize(
    ("line", "function"),
    [
        ("2 large laksa please", "add_dish_to_order"),
        ("remove the large laksa", "remove_dish_from_order"),
        ("take the small laksa off", "remove_dish_from_order"),
        ("what is on my order so far?", "show_order"),
        ("place my order", "place_order"),
        ("what is the fee? I live 3 km away", "estimate_trip"),
        ("when are you open on Friday?", "opening_hours"),
    ],
)
async def test_free_text_finds_its_function_across_agents(line: str, function: str):
    assert function in called(await talk("I want to order", line))


async def test_function_without_a_value_is_asked_for_and_called_with_the_answer():
    response = await talk("I want to order", "add large laksa to the order", "3")
    assert response.context_variables["order"] == {"large laksa": 3}


async def test_refused_order_changes_nothing_and_is_told():
    response = await talk("I want to order", "2 large laksa", "50 large laksa")
    assert "ValueError: The kitchen makes 1 to 20" in (response.messages[-1].content or "")
    assert response.context_variables["order"] == {"large laksa": 2}


async def test_placing_again_keeps_the_number_until_the_order_changes():
    first = await talk("I want to order", "2 large laksa", "place my order")
    again = await talk("I want to order", "place my order", context=first.context_variables)
    assert again.context_variables == first.context_variables
    changed = await talk("I want to order", "1 small rojak", context=first.context_variables)
    assert "order_number" not in changed.context_variables


def test_nothing_is_placed_without_an_order():
    with pytest.raises(ValueError, match="Nothing is on the order"):
        place_order({}, None)  # type: ignore[arg-type]
