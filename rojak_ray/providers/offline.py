"""An agent without a model: it matches the words of a request to functions, calls them, and reports what they return.

It needs no key, no network and no weights, gives the same answer every time, and says what it is. For demonstrations
and tests of everything around a model.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from rojak_ray.agents.activities import AgentActivities, AgentCallParams, FunctionSchema
from rojak_ray.agents.results import AgentResponse, AgentToolCall, ToolCallFunction
from rojak_ray.messages import ConversationMessage, Usage
from rojak_ray.providers.offline_match import Judge, Task
from rojak_ray.providers.offline_reply import ASKING, TRANSFERRED, compose
from rojak_ray.providers.offline_text import words

_WORD_S = 0.01
"""Between two words for somebody who watches: fast, and yet to be seen."""

_LONGEST_REQUEST = 2000
"""Characters of a request that are read, from its end; matching words in more would only take longer."""


class OfflineAgentActivities(AgentActivities):
    """Answers for agents of the type "offline".

    Example:
        await rojak.create_worker([OfflineAgentActivities()])  # without it, an OfflineAgent is answered just as well
    """

    type: ClassVar[str] = "offline"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        """Answer from the words of the conversation alone; see `answer`. Watched, it says them one after the other."""
        response = answer(params)
        if params.on_delta is not None:
            for word in re.findall(r"\s*\S+|\s+$", response.content or ""):
                params.on_delta(word)
                await asyncio.sleep(_WORD_S)
        return response


@dataclass(frozen=True)
class _Turn:
    """The user's request and what was done about it so far."""

    request: str
    calls: list[tuple[str, str]]
    """Names and arguments."""

    results: list[tuple[str, str]]
    """Names and outputs, since the user spoke last."""

    speakers: frozenset[str]
    """The words in the names of agents that had their say."""

    speaker: str
    """Who answers now, as far as the conversation shows it."""


def answer(params: AgentCallParams) -> AgentResponse:
    """The answer of the offline stand-in: calls of functions that fit the request, or text.

    A function that fits but lacks a value is asked for; a call is not repeated within a turn; with results and
    nothing left to do, the results are quoted. A `tool_choice` that demands a call is satisfied once per turn.
    """
    turn = _read_turn(params.messages)
    schemas = params.functions or [FunctionSchema(name, "", {}) for name in params.function_names]
    demanded, allowed = _read_choice(params.tool_choice, [schema.name for schema in schemas])
    judge = Judge((schema for schema in schemas if schema.name in allowed), turn.speaker)
    tasks = [task for task in judge.plan(turn.request) if not _is_done(task, turn)]
    if demanded and not tasks and not turn.calls:
        tasks = judge.least_bad(turn.request)
    ready = _one_transfer([task for task in tasks if not task.missing])
    if not params.parallel_tool_calls:
        ready = ready[:1]
    asked = sum(len(message.text.split()) for message in params.messages)
    if not ready:
        text = compose(turn.results, [task for task in tasks if task.missing], judge)
        usage = Usage(requests=1, input_tokens=asked, output_tokens=len(text.split()))
        return AgentResponse(type="text", content=text, usage=usage, finish_reason="stop")
    first = _next_call_number(params.messages)
    calls = [_call(task, first + index) for index, task in enumerate(ready)]
    answered = sum(len(call.function.arguments.split()) + 1 for call in calls)
    usage = Usage(requests=1, input_tokens=asked, output_tokens=answered)
    return AgentResponse(type="tool", tool_calls=calls, usage=usage, finish_reason="tool_calls")


# Reading


def _read_turn(messages: Sequence[ConversationMessage]) -> _Turn:
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    if not users:
        return _Turn("", [], [], frozenset(), "")
    latest = start = users.pop()
    request = messages[start].text
    # An answer to our question belongs to the request that raised it.
    while users and messages[start - 1].role == "assistant" and ASKING in messages[start - 1].text:
        start = users.pop()
        request = f"{messages[start].text}\n{request}"
    names: dict[str, str] = {}
    calls: list[tuple[str, str]] = []
    for message in messages[start:]:
        for call in message.tool_calls or []:
            names[call["id"]] = call["function"]["name"]
            calls.append((call["function"]["name"], _normal(call["function"]["arguments"])))
    results = [
        (names.get(message.tool_call_id or "", "the function"), message.text)
        for message in messages[latest:]
        if message.role == "tool"
    ]
    speakers = {word for message in messages[latest:] for word in words(message.sender or "")}
    request = re.sub(r"(\s{8})\s+", r"\1", request)  # long gaps would take long to search
    return _Turn(request[-_LONGEST_REQUEST:], calls, results, frozenset(speakers), _speaker(messages))


def _speaker(messages: Sequence[ConversationMessage]) -> str:
    for message in reversed(messages):
        if message.role == "tool" and (transferred := TRANSFERRED.fullmatch(message.text)):
            return transferred[1]
        if message.sender:
            return message.sender
    return ""


def _normal(arguments: str) -> str:
    """JSON text in one spelling, so that equal arguments are equal text."""
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments


def _read_choice(choice: Any, names: list[str]) -> tuple[bool, list[str]]:
    """Whether a call is demanded and which functions are allowed, in any vendor's form of `tool_choice`."""
    if isinstance(choice, Mapping):
        given = cast("Mapping[str, Any]", choice)
        function = given.get("function")
        named = function.get("name") if isinstance(function, Mapping) else given.get("name")
        choice = named or given.get("type")
    if choice == "none":
        return False, []
    if choice in names:
        return True, [choice]
    return choice in ("required", "any"), names


def _is_done(task: Task, turn: _Turn) -> bool:
    if task.function.is_transfer or task.missing:
        was_target = task.function.is_transfer and task.function.name_words <= turn.speakers
        return was_target or any(called == task.name for called, _ in turn.calls)
    return (task.name, task.spelled) in turn.calls


def _one_transfer(tasks: Sequence[Task]) -> list[Task]:
    """The tasks with the first handover only, at the end: whoever takes over finds the rest done."""
    transfers = [task for task in tasks if task.function.is_transfer]
    return [task for task in tasks if not task.function.is_transfer] + transfers[:1]


# Answering


def _next_call_number(messages: Sequence[ConversationMessage]) -> int:
    """One more than there were calls, and than any number already given."""
    ids = [call["id"] for message in messages for call in message.tool_calls or []]
    numbers = [int(found[1]) for each in ids if (found := re.fullmatch(r"call_(\d{1,9})", each))]
    return max([len(ids), *numbers]) + 1


def _call(task: Task, number: int) -> AgentToolCall:
    arguments = json.dumps(task.arguments, ensure_ascii=False)
    return AgentToolCall(id=f"call_{number}", function=ToolCallFunction(task.name, arguments))
