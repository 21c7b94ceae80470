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
from rojak_ray.providers.offline_text import clauses, fill, stem, words

_WORD_S = 0.01
"""Between two words for somebody who watches: fast, and yet to be seen."""

_ENOUGH = 2
"""The least score of a match: one word of the name, or two of the description."""

_LONGEST_REQUEST = 4000
"""Characters of a request that are read; matching words in more would only take longer."""

_ASKING = "I still need"
_HANDING_OVER = words("transfer hand handoff pass switch route escalate connect delegate talk speak back over")
_NO_TARGET = {*_HANDING_OVER, *words("agent assistant conversation team department specialist user customer")}
_TRANSFER_NAME = re.compile(
    r"(?:transfer|hand|switch|route|escalate|connect|delegate|talk|speak)\w*_to_", re.IGNORECASE
)
_TRANSFER_TEXT = re.compile(
    r"\b(?:hand|transfer|pass|switch|route|escalate|connect|delegate)\w*\b.*\bto\b", re.IGNORECASE
)
_TRANSFERRED = re.compile(r"Transferred to '(.+)'", re.DOTALL)
_ERROR = re.compile(r"(?:\w*(?:Error|Exception|Timeout|NotFound)|Invalid\w+): ")


class OfflineAgentActivities(AgentActivities):
    """Answers for agents of the type "offline"."""

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
class _Known:
    """A function and the words that call for it."""

    schema: FunctionSchema
    name_words: frozenset[str]
    other_words: frozenset[str]
    is_transfer: bool

    def score(self, said: frozenset[str]) -> tuple[int, bool, float]:
        """How well the function fits what was said, and what breaks ties: own work before handing over."""
        by_name, by_text = len(said & self.name_words), len(said & self.other_words)
        points = 2 * by_name + (2 if self.is_transfer else 1) * by_text
        return points, not self.is_transfer, by_name / (len(self.name_words) or 1)


@dataclass(frozen=True)
class _Task:
    """A part of the request, the function for it, and what is known of its arguments."""

    function: _Known
    arguments: dict[str, Any]
    missing: list[str]


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


def answer(params: AgentCallParams) -> AgentResponse:
    """The answer of the offline stand-in: calls of functions that fit the request, or text.

    A function that fits but lacks a value is asked for; a call is not repeated within a turn; with results and
    nothing left to do, the results are quoted. A `tool_choice` that demands a call is satisfied once per turn.
    """
    turn = _read_turn(params.messages)
    schemas = params.functions or [FunctionSchema(name, "", {}) for name in params.function_names]
    demanded, allowed = _read_choice(params.tool_choice, [schema.name for schema in schemas])
    functions = [_know(schema) for schema in schemas if schema.name in allowed]
    tasks = [task for task in _plan(turn.request, functions) if not _is_done(task, turn)]
    if demanded and not tasks and not turn.calls:
        tasks = _least_bad(turn.request, functions)
    ready = _one_transfer([task for task in tasks if not task.missing])
    if not params.parallel_tool_calls:
        ready = ready[:1]
    asked = sum(len(message.text.split()) for message in params.messages)
    if not ready:
        text = _compose(turn, [task for task in tasks if task.missing], functions, params.messages)
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
        return _Turn("", [], [], frozenset())
    latest = start = users.pop()
    request = messages[start].text
    # An answer to our question belongs to the request that raised it.
    while users and messages[start - 1].role == "assistant" and _ASKING in messages[start - 1].text:
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
    return _Turn(request[-_LONGEST_REQUEST:], calls, results, frozenset(speakers))


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


def _know(schema: FunctionSchema) -> _Known:
    properties: Mapping[str, Any] = schema.parameters.get("properties", {})
    is_transfer = not properties and bool(
        _TRANSFER_NAME.match(schema.name) or _TRANSFER_TEXT.search(schema.description)
    )
    noise = _NO_TARGET if is_transfer else set[str]()
    in_name, in_text = set(words(schema.name)), set(words(f"{schema.description} {' '.join(properties)}"))
    name_words = frozenset(in_name - noise or in_name or {stem(schema.name)})
    return _Known(schema, name_words, frozenset(in_text - noise - name_words), is_transfer)


# Planning


def _best(text: str, functions: Sequence[_Known]) -> _Known | None:
    said = frozenset(words(text))
    best = max(functions, key=lambda function: function.score(said), default=None)
    return best if best and best.score(said)[0] >= _ENOUGH else None


def _plan(request: str, functions: Sequence[_Known]) -> list[_Task]:
    """The request as tasks, in its order. A second mention of a function that adds no values is no task."""
    tasks: list[_Task] = []
    for clause in clauses(request, lambda part: _best(part, functions) is not None):
        function = _best(clause, functions)
        if function is None:
            continue
        task = _task(function, clause)
        same = [known for known in tasks if known.function is function]
        if not same or not (task.missing or any(known.arguments == task.arguments for known in same)):
            tasks.append(task)
    return tasks


def _least_bad(request: str, functions: Sequence[_Known]) -> list[_Task]:
    """What to do when a call is demanded and nothing fits: the function that fits best among those we can call."""
    said = frozenset(words(request))
    tasks = [_task(function, request) for function in functions]
    return sorted(tasks, key=lambda task: (not task.missing, task.function.score(said)), reverse=True)[:1]


def _task(function: _Known, clause: str) -> _Task:
    return _Task(function, *fill(function.schema.parameters, clause, function.name_words | function.other_words))


def _is_done(task: _Task, turn: _Turn) -> bool:
    name = task.function.schema.name
    if task.function.is_transfer or task.missing:
        was_target = task.function.is_transfer and task.function.name_words <= turn.speakers
        return was_target or any(called == name for called, _ in turn.calls)
    return (name, json.dumps(task.arguments, sort_keys=True)) in turn.calls


def _one_transfer(tasks: Sequence[_Task]) -> list[_Task]:
    """The tasks with the first handover only, at the end: whoever takes over finds the rest done."""
    transfers = [task for task in tasks if task.function.is_transfer]
    return [task for task in tasks if not task.function.is_transfer] + transfers[:1]


# Answering


def _next_call_number(messages: Sequence[ConversationMessage]) -> int:
    """One more than there were calls, and than any number already given."""
    ids = [call["id"] for message in messages for call in message.tool_calls or []]
    numbers = [int(found[1]) for each in ids if (found := re.fullmatch(r"call_(\d{1,9})", each))]
    return max([len(ids), *numbers]) + 1


def _call(task: _Task, number: int) -> AgentToolCall:
    arguments = json.dumps(task.arguments, ensure_ascii=False)
    return AgentToolCall(id=f"call_{number}", function=ToolCallFunction(task.function.schema.name, arguments))


def _compose(
    turn: _Turn, unfilled: Sequence[_Task], functions: Sequence[_Known], messages: Sequence[ConversationMessage]
) -> str:
    lines = [_report(name, output) for name, output in turn.results]
    lines += [_question(task) for task in unfilled]
    if all(_TRANSFERRED.fullmatch(output) for _, output in turn.results) and not unfilled:
        lines.append(_introduction(functions, messages))
    return "\n".join(lines)


def _report(name: str, output: str) -> str:
    if transferred := _TRANSFERRED.fullmatch(output):
        return f"You are talking to {transferred[1]} now."
    if _ERROR.match(output):
        return f"I could not finish {name}: {output}"
    return f"According to {name}: {output}" if output else f"I have called {name}; it had nothing to say."


def _question(task: _Task) -> str:
    properties = task.function.schema.parameters["properties"]
    wanted = [
        f"{name} ({text.rstrip('.')})" if (text := properties[name].get("description")) else name
        for name in task.missing
    ]
    return f"To call {task.function.schema.name} {_ASKING}: {', '.join(wanted)}."


def _introduction(functions: Sequence[_Known], messages: Sequence[ConversationMessage]) -> str:
    """What answers here, and what it can do."""
    system = next((message.text for message in messages if message.role == "system"), "")
    lines = ["I am an offline stand-in for a language model: I match your words to functions and make nothing up."]
    if system.strip():
        lines.append(f'My instructions begin: "{system.strip().splitlines()[0]}"')
    if not functions:
        return "\n".join([*lines, "I have no functions to call."])
    described = [(known.schema.name, known.schema.description.partition("\n")[0]) for known in functions]
    lines.append("This is what I can do:")
    return "\n".join(lines + [f"- {name}: {text}" if text else f"- {name}" for name, text in described])
