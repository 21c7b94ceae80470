"""What people type at the demo's food stall leads to the right function, at the front desk or at the orders."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.agents import OfflineAgent
from rojak_ray.agents.activities import AgentCallParams
from rojak_ray.agents.schema import define_function
from rojak_ray.cli.demo_agents import open_stall
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.offline import answer
from rojak_ray.testing.runtime import InProcessRuntime

STALL = open_stall(OfflineAgent)
AGENTS = (STALL.front_desk, STALL.orders, STALL.delivery)

NOTHING = ""
ADD, REMOVE, MENU, ORDER, PLACE = (
    "add_dish_to_order",
    "remove_dish_from_order",
    "show_menu",
    "show_order",
    "place_order",
)
HOURS, TRACK, TRIP, COMPLAINT, NAME = (
    "opening_hours",
    "track_delivery",
    "estimate_trip",
    "note_complaint",
    "note_guest_name",
)
SENTENCES: dict[str, dict[str, Sequence[str]]] = {
    "orders": {
        "I want 3 satay and bring it to me": ["add_dish_to_order(satay, 3)"],
        "2 large laksa please": ["add_dish_to_order(laksa, 2, large)"],
        "can I have a small rojak and two teh tarik?": [
            "add_dish_to_order(rojak, 1, small)",
            "add_dish_to_order(teh tarik, 2)",
        ],
        "laksa x2": ["add_dish_to_order(laksa, 2)"],
        "half a dozen satay to start with": ["add_dish_to_order(satay, 6)"],
        "Good evening! We are hungry: four laksa, please.": ["add_dish_to_order(laksa, 4)"],
        "could you put another teh tarik on it": ["add_dish_to_order(teh tarik, 1)"],
        "my wife will have a regular laksa": ["add_dish_to_order(laksa, 1, regular)"],
        "ten satay for the table, no sauce": ["add_dish_to_order(satay, 10)"],
        "I'd like the laksa": [ADD],
        "that's all, thanks": [PLACE],
        "ok please send my order to the kitchen": [PLACE],
    },
    "changes": {
        "remove the large laksa": ["remove_dish_from_order(laksa, large)"],
        "no satay please": ["remove_dish_from_order(satay)"],
        "take the rojak off again": ["remove_dish_from_order(rojak)"],
        "I don't want the laksa any more": ["remove_dish_from_order(laksa)"],
        "swap the rojak for 2 laksa": ["remove_dish_from_order(rojak)", "add_dish_to_order(laksa, 2)"],
        "2 satay instead of the laksa": ["remove_dish_from_order(laksa)", "add_dish_to_order(satay, 2)"],
        "actually make it 5 satay": ["add_dish_to_order(satay, 5)"],
        "please leave the teh tarik out": ["remove_dish_from_order(teh tarik)"],
        "what is on my order so far?": [ORDER],
        "how much do I have to pay in total?": [ORDER],
    },
    "prices": {
        "how much is the laksa?": [MENU],
        "what does a satay cost?": [MENU],
        "prices?": [MENU],
        "what's on the menu": [MENU],
        "do you have anything to drink?": [MENU],
        "is the rojak expensive": [MENU],
        "what would ten satay cost me": [MENU],
    },
    "opening hours": {
        "when are you open on Sunday?": ["opening_hours(Sunday)"],
        "are you open on mondays": ["opening_hours(Monday)"],
        "until when can I come on Friday": ["opening_hours(Friday)"],
        "what time do you close?": ["opening_hours()"],
        "opening hours": ["opening_hours()"],
        "do you open early on Sat?": ["opening_hours(Saturday)"],
    },
    "delivery": {
        "I live 3 km away, how long does it take?": ["estimate_trip(3)"],
        "how much is delivery to 4.5 km": ["estimate_trip(4.5)"],
        "do you deliver to my office, 6km from here?": ["estimate_trip(6)"],
        "how far do you deliver?": [TRIP],
        "where is my food?": [TRACK],
        "is it ready yet?": [TRACK],
        "track my delivery please": [TRACK],
        "when does my dinner arrive": [TRACK],
    },
    "complaints": {
        "my satay is cold!": [COMPLAINT],
        "you forgot my teh tarik": [COMPLAINT],
        "I ordered two laksa but got one": [COMPLAINT],
        "I have been waiting for an hour": [COMPLAINT],
        "there is a hair in the rojak": [COMPLAINT],
        "the waiter was very rude to us": [COMPLAINT],
    },
    "small talk": {
        "hello": [NOTHING],
        "how are you today?": [NOTHING],
        "nice weather, isn't it": [NOTHING],
        "thank you very much!": [NOTHING],
        "tell me a joke": [NOTHING],
        "I am Ann": ["note_guest_name(Ann)"],
        "hi, my name is bob": ["note_guest_name(bob)"],
    },
    "typos": {
        "2 laska and 3 saty plz": ["add_dish_to_order(laksa, 2)", "add_dish_to_order(satay, 3)"],
        "how mcuh is the rojack": [MENU],
        "wen do you open on wensday": ["opening_hours(Wednesday)"],
        "remvoe the laksa": ["remove_dish_from_order(laksa)"],
        "delivry fee for 3 km": ["estimate_trip(3)"],
    },
}
ALL = [(line, expected) for kind in SENTENCES.values() for line, expected in kind.items()]


def said(message: ConversationMessage) -> list[str]:
    """The functions a message calls, other than handovers, with their arguments."""
    functions = [call["function"] for call in message.tool_calls or ()]
    return [
        f"{function['name']}({', '.join(str(value) for value in json.loads(function['arguments']).values())})"
        for function in functions
        if not function["name"].startswith("transfer_to_")
    ]


async def led_to(runtime: InProcessRuntime, name: str, agent: OfflineAgent, line: str) -> list[str]:
    """What was called for a sentence, or the function for which a value was asked."""
    session = await runtime.create_session(name, agent, history_size=100)
    await session.send_messages("Hello!")
    answered = await session.send_messages(line)
    called = [each for message in answered.messages for each in said(message)]
    asked = [f"{text.split()[2]}(?)" for text in answered.output.splitlines() if "I still need" in text]
    return called or asked or [NOTHING]


def fits(led: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether exactly the expected functions were called; one without parentheses with any arguments."""
    return len(led) == len(expected) and all(
        one == other or one.partition("(")[0] == other for one, other in zip(led, expected, strict=True)
    )


@pytest.mark.parametrize("agent", AGENTS[:2], ids=lambda agent: agent.name)
async def test_sentences_lead_to_the_right_function(agent: OfflineAgent):
    assert len(ALL) >= 60
    wrong: list[str] = []
    async with InProcessRuntime() as runtime:
        for number, (line, expected) in enumerate(ALL):
            led = await led_to(runtime, f"s{number}", agent, line)
            if not fits(led, expected):
                wrong.append(f"{line!r} led to {led}, not {expected}")

    allowed = len(ALL) - round(len(ALL) * 55 / 60)
    assert len(wrong) <= allowed, "\n".join(wrong)


async def test_the_demos_first_minute():
    async with InProcessRuntime() as runtime:
        session = await runtime.create_session("s", STALL.front_desk, history_size=100)
        await session.send_messages("Show me the menu.")
        answered = await session.send_messages("I want 3 satay and bring it to me, I am Ann")
    assert answered.context_variables["order"] == {"regular satay": 3}
    assert answered.context_variables.get("guest") == "Ann"


def offer(agent: OfflineAgent, text: str) -> list[str]:
    functions = [define_function(fn).schema for fn in agent.functions if callable(fn)]
    messages = [ConversationMessage("user", text, sender=None)]
    response = answer(AgentCallParams(messages, "offline", [each.name for each in functions], functions=functions))
    if response.type == "tool":
        return []
    return (response.content or "").splitlines()


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_where_nothing_fits_there_are_two_lines_and_three_examples_that_work(agent: OfflineAgent):
    first, second, *examples = offer(agent, "Tell me a joke")
    assert "offline stand-in" in first
    assert second == "You could say:"
    assert len(examples) == 3
    for example in examples:
        assert example.startswith("- ")
        assert offer(agent, example.removeprefix("- ")) == [], example


@pytest.mark.parametrize("text", ["1 ", "do you ", " ", "swap laksa ", "x"])
def test_a_text_made_to_take_long_does_not(text: str):
    """Where reading is quadratic, a minute is too little."""
    offer(STALL.orders, text * 40_000)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from([w for line, _ in ALL for w in line.split()]))))
def test_any_text_is_answered(parts: list[Any]):
    offer(STALL.orders, " ".join(parts))
