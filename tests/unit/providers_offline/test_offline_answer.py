"""What the agent without a model answers."""

import json
from typing import Any, Literal

import pytest

from rojak_ray.agents.activities import AgentCallParams
from rojak_ray.agents.results import AgentResponse
from rojak_ray.agents.schema import define_function
from rojak_ray.messages import ConversationMessage
from rojak_ray.providers.offline import OfflineAgentActivities, answer
from rojak_ray.providers.offline_text import clauses, fill, stem, words


def get_weather(city: str, days: int = 1, unit: Literal["celsius", "fahrenheit"] = "celsius"):
    """Get the weather forecast for a city.

    Args:
        city: The city to look up.
    """


def add(a: float, b: float):
    """Add two numbers."""


def get_order_status(order_id: str):
    """Look up the status of an order."""


def refund_order(order_id: int):
    """Refund an order."""


def search_web(query: str):
    """Search the web."""


def book_table(name: str, date: str, guests: int, outside: bool = False):
    """Book a table."""


def total(numbers: list[int]):
    """Sum up numbers."""


def invite(people: list[str]):
    """Invite people."""


def transfer_to_billing():
    """Hand over to billing, for refunds and invoices."""


def transfer_to_agent_a():
    """Hand the conversation to Agent A, who knows about refunds."""


def transfer_to_agent_b():
    """Hand the conversation to Agent B."""


EVERYTHING = [
    get_weather,
    add,
    get_order_status,
    search_web,
    book_table,
    total,
    invite,
    transfer_to_billing,
    transfer_to_agent_b,
]


def respond(text: str, functions: list[Any] = EVERYTHING, done: Any = (), **params: Any) -> AgentResponse:
    messages = [ConversationMessage("system", "Be kind.\nAlways."), ConversationMessage("user", text), *done]
    schemas = [define_function(fn).schema for fn in functions]
    names = [schema.name for schema in schemas]
    return answer(AgentCallParams(messages, "offline", function_names=names, functions=schemas, **params))


def calls(response: AgentResponse) -> list[tuple[str, dict[str, Any]]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in response.tool_calls or []]


def done(*steps: tuple[str, dict[str, Any], str], sender: str = "Agent A") -> list[ConversationMessage]:
    """Calls with their arguments and what came of them, as messages after the user's."""
    asked = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments, _) in enumerate(steps, 1)
    ]
    results = [ConversationMessage("tool", out, tool_call_id=f"call_{n}") for n, (_, _, out) in enumerate(steps, 1)]
    return [ConversationMessage("assistant", None, asked, sender=sender), *results]


TRANSFERRED = done(("transfer_to_billing", {}, "Transferred to 'Billing'"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's the weather in Paris?", [("get_weather", {"city": "Paris"})]),
        ("weather in paris tomorrow, please", [("get_weather", {"city": "paris"})]),
        (
            "Weather in New York for 5 days in Fahrenheit",
            [("get_weather", {"city": "New York", "days": 5, "unit": "fahrenheit"})],
        ),
        ("What is 2 plus -3.5?", [("add", {"a": 2, "b": -3.5})]),
        ("Add 1,000 and 2", [("add", {"a": 1000, "b": 2})]),
        ("Where is my order A-17?", [("get_order_status", {"order_id": "A-17"})]),
        ("Search the web for durable execution on Ray.", [("search_web", {"query": "durable execution on Ray"})]),
        ('search for "ray"', [("search_web", {"query": "ray"})]),
        (
            "Book a table for Anna on 2026-01-05 for 4 guests outside",
            [("book_table", {"name": "Anna", "date": "2026-01-05", "guests": 4, "outside": True})],
        ),
        ("Please total 1, 2, 3 and 4", [("total", {"numbers": [1, 2, 3, 4]})]),
        ("Invite Ann, Bob and Cy", [("invite", {"people": ["Ann", "Bob", "Cy"]})]),
        ("I want to talk to agent B.", [("transfer_to_agent_b", {})]),
        ("I'd like my money: a refund", [("transfer_to_billing", {})]),
        ("weather in Paris and add 2 and 3", [("get_weather", {"city": "Paris"}), ("add", {"a": 2, "b": 3})]),
        (
            "Hi there! What's the weather in Paris? And the weather in Oslo?",
            [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Oslo"})],
        ),
        (
            "Hand me to billing and then to agent B, and add 2 and 3",
            [("add", {"a": 2, "b": 3}), ("transfer_to_billing", {})],
        ),
    ],
)
def test_answer_to_request_calls_what_fits(text: str, expected: Any) -> None:
    response = respond(text)
    assert calls(response) == expected
    assert (response.type, response.finish_reason) == ("tool", "tool_calls")


def test_answer_is_deterministic_and_counts_words() -> None:
    assert respond("weather in Paris") == respond("weather in Paris")
    usage = respond("Hello there").usage
    assert usage is not None
    assert (usage.requests, usage.input_tokens) == (1, 5)
    assert usage.output_tokens > 10


def test_answer_without_value_for_required_parameter_asks_for_it() -> None:
    response = respond("What's the weather?")
    assert response.type == "text"
    assert response.content == "To call get_weather I still need: city (The city to look up)."


def test_answer_to_reply_to_our_question_continues_the_request() -> None:
    question = ConversationMessage("assistant", respond("What's the weather?").content)
    response = respond("What's the weather?", done=[question, ConversationMessage("user", "Oslo")])
    assert calls(response) == [("get_weather", {"city": "Oslo"})]


def test_answer_without_match_says_what_it_is_and_shows_sentences_that_work() -> None:
    first, second, *examples = (respond("Tell me a joke").content or "").splitlines()
    assert "offline stand-in" in first
    assert second == "You could say:"
    assert len(examples) == 3
    for example in examples:
        assert len(calls(respond(example.removeprefix("- ")))) == 1, example


@pytest.mark.parametrize("messages", [[], [ConversationMessage("assistant", "Hi")]])
def test_answer_without_user_message_introduces_itself(messages: list[ConversationMessage]) -> None:
    assert "offline stand-in" in (answer(AgentCallParams(messages, "offline")).content or "")


def test_answer_with_names_only_matches_the_names() -> None:
    params = AgentCallParams([ConversationMessage("user", "ping it")], "offline", function_names=["ping"])
    assert calls(answer(params)) == [("ping", {})]


def test_answer_after_results_quotes_each() -> None:
    steps = done(("get_weather", {"city": "Paris"}, "Sunny."), ("add", {"b": 3, "a": 2}, "ValueError: too hard"))
    response = respond("weather in Paris and add 2 and 3", done=steps)
    assert response.content == "According to get_weather: Sunny.\nI could not finish add: ValueError: too hard"
    assert response.finish_reason == "stop"


def test_answer_after_some_results_calls_what_is_left() -> None:
    response = respond("weather in Paris and add 2 and 3", done=done(("get_weather", {"city": "Paris"}, "Sunny.")))
    assert calls(response) == [("add", {"a": 2, "b": 3})]


def test_answer_after_results_with_a_part_unfilled_reports_and_asks() -> None:
    response = respond("weather in Paris and book a table", done=done(("get_weather", {"city": "Paris"}, "Sunny.")))
    assert response.content == "According to get_weather: Sunny.\nTo call book_table I still need: name, date, guests."


def test_answer_in_a_later_turn_forgets_earlier_results() -> None:
    earlier = done(("get_weather", {"city": "Paris"}, "Sunny."))
    later = [*earlier, ConversationMessage("assistant", "Sunny."), ConversationMessage("user", "weather in Paris")]
    response = respond("weather in Paris", done=later)
    assert calls(response) == [("get_weather", {"city": "Paris"})]
    assert response.tool_calls is not None
    assert response.tool_calls[0].id == "call_2"


def test_answer_ids_stay_unique_when_history_was_cut() -> None:
    steps = done(("get_weather", {"city": "Paris"}, "Sunny."))
    steps[0].tool_calls[0]["id"] = steps[1].tool_call_id = "call_7"  # type: ignore[index]
    response = respond("weather in Paris and add 2 and 3", done=steps)
    assert [call.id for call in response.tool_calls or []] == ["call_8"]


def test_answer_after_handoff_calls_the_new_agents_function() -> None:
    response = respond("I want a refund for order 123", [transfer_to_agent_a, refund_order], TRANSFERRED)
    assert calls(response) == [("refund_order", {"order_id": 123})]


def test_answer_after_handoff_does_not_hand_back() -> None:
    response = respond("I want a refund", [transfer_to_agent_a], TRANSFERRED)
    assert response.type == "text"
    content = response.content or ""
    assert content.startswith("You are talking to Billing now.\nI am an offline stand-in")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", []),
        ({"type": "none"}, []),
        ("auto", []),
        (None, []),
        ("required", [("transfer_to_billing", {})]),
        ({"type": "any"}, [("transfer_to_billing", {})]),
        ("transfer_to_agent_b", [("transfer_to_agent_b", {})]),
        ({"type": "function", "function": {"name": "transfer_to_agent_b"}}, [("transfer_to_agent_b", {})]),
        ({"type": "tool", "name": "transfer_to_agent_b"}, [("transfer_to_agent_b", {})]),
    ],
)
def test_answer_with_tool_choice_obeys_it(choice: Any, expected: Any) -> None:
    assert calls(respond("Hello there", tool_choice=choice)) == expected


def test_answer_with_tool_choice_none_ignores_a_match() -> None:
    assert respond("weather in Paris", tool_choice="none").type == "text"


def test_answer_with_required_choice_after_a_call_may_be_text() -> None:
    steps = done(("add", {"a": 2, "b": 3}, "5"))
    assert respond("add 2 and 3", done=steps, tool_choice="required").content == "According to add: 5"


def test_answer_with_required_choice_that_cannot_be_filled_asks() -> None:
    assert "I still need: city" in (respond("Hello", [get_weather], tool_choice="required").content or "")


def test_answer_without_parallel_calls_makes_one() -> None:
    response = respond("weather in Paris and add 2 and 3", parallel_tool_calls=False)
    assert calls(response) == [("get_weather", {"city": "Paris"})]


async def test_offline_activities_answer_for_the_offline_type() -> None:
    params = AgentCallParams([ConversationMessage("user", "Hello")], "offline")
    assert OfflineAgentActivities.type == "offline"
    assert await OfflineAgentActivities().call(params) == answer(params)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("refunds", "refund"),
        ("cities", "city"),
        ("booking", "book"),
        ("invoices", "invoice"),
        ("running", "run"),
        ("scheduled", "schedule"),
        ("plus", "add"),
        ("reminder", "remind"),
    ],
)
def test_stem_of_related_words_is_one(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_words_of_names_are_split_and_lettered_agents_kept_whole() -> None:
    assert words("transfer_to_agent_b") == words("transfer Agent B")
    assert words("bookTable") == words("book table")


def test_clauses_that_ask_for_nothing_join_their_neighbour() -> None:
    found = clauses("Hi, add 2 and 3 and then sing.", lambda part: "add" in part or "sing" in part)
    assert found == ["Hi, add 2 and 3", "sing."]


@pytest.mark.parametrize(
    ("shown", "text", "value"),
    [
        ({"type": "string", "format": "email"}, "mail bob@example.com now", "bob@example.com"),
        ({"type": "string", "format": "uri"}, "see https://ray.io/x?y=1.", "https://ray.io/x?y=1"),
        ({"type": "string", "format": "date"}, "on 2026-01-05", "2026-01-05"),
        ({"type": "boolean"}, "yes please", True),
        ({"type": "boolean"}, "no", False),
        ({"type": "boolean"}, "perhaps", None),
        ({"type": "integer"}, "2.5 or 3", 3),
        ({"const": "deep-dish"}, "a deep dish pizza", "deep-dish"),
        ({"enum": ["small", "extra_large"]}, "an Extra Large one", "extra_large"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Size"}]}, "size m", "m"),
        ({"type": "array", "items": {"type": "number"}}, "1 and 2.5", [1, 2.5]),
        ({"type": "string"}, "value: teal", "teal"),
        ({"type": "object"}, "anything", None),
    ],
)
def test_fill_of_each_type_finds_its_value(shown: dict[str, Any], text: str, value: Any) -> None:
    schema = {"properties": {"value": shown}, "required": ["value"], "$defs": {"Size": {"enum": ["s", "m"]}}}
    expected = ({}, ["value"]) if value is None else ({"value": value}, [])
    assert fill(schema, text, ()) == expected
