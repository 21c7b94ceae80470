"""Calling a user's function, and reading what it returned.

The arguments come from a model and the result goes to one: what is refused here is refused with a text that the model
can act on. Nothing is kept between calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.annotations import CONTEXT_PARAMETER, is_tool_context
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.results import AgentExecuteFnResult, WaitForAnswer
from rojak_ray.agents.schema import FunctionDefinition, signature_of
from rojak_ray.agents.shown import shown
from rojak_ray.checks import kind_of, reason_of
from rojak_ray.errors import InvalidAgent, InvalidContext
from rojak_ray.messages import (
    RESULT_BYTES,
    Content,
    FilePart,
    ImagePart,
    TextPart,
    bounded_content,
    bounded_text,
    clean_text,
    read_context,
    weighs_more,
)

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_MOST_PROBLEMS = 5
_DEEPEST_LOOK = 20
_HEAVY_BYTES = 1024 * 1024
_COLLECTIONS = (list, tuple, set, frozenset, deque, KeysView, ValuesView, ItemsView)
_HOW_TO_HAND_OVER = "Return the agent itself, or AgentExecuteFnResult(output=..., agent=...)."


@dataclass(frozen=True)
class FunctionOutcome:
    """What a function call did."""

    output: Content
    """What the model is told and shown."""

    agent: Agent | None = None
    """Who answers next, if the function handed over."""

    context_set: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Context variables with new values."""

    context_deleted: tuple[str, ...] = ()
    """Context variables that are gone."""

    waits: WaitForAnswer | None = None
    """Set if the result comes later, from outside."""


def build_arguments(
    definition: FunctionDefinition,
    arguments_text: str,
    context_variables: dict[str, Any],
    tool_context: ToolContext,
) -> dict[str, Any]:
    """The arguments to call a function with, by parameter name.

    Args:
        definition: The function.
        arguments_text: The model's arguments, as JSON text.
        context_variables: Handed to the function as it is: what the function changes in it is read afterwards.
        tool_context: For parameters annotated with `ToolContext`.

    Raises:
        TypeError, ValueError: See `FunctionDefinition.bind`.
    """
    arguments = definition.bind(arguments_text)
    if definition.context_parameter is not None:
        arguments[definition.context_parameter] = context_variables
    return arguments | dict.fromkeys(definition.tool_context_parameters, tool_context)


def invoke_sync(definition: FunctionDefinition, arguments: Mapping[str, Any]) -> Any:
    """Call a function in a thread without an event loop; if it returns an awaitable, a loop is run for it."""
    value = definition.call(arguments)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def whole_value(name: str, value: Any) -> Any:
    """The value, if it is there as a whole.

    Raises:
        TypeError: It is a generator or another iterator, of which nothing has run yet.
    """
    if is_a(value, Iterator) or is_a(value, AsyncIterator):
        raise TypeError(
            f"{name}() returned a {type(value).__name__}, which is not supported: functions return a whole value, "
            "such as text or a list"
        )
    return value


def read_result(
    value: Any, before: Mapping[str, Any], after: Mapping[str, Any], max_bytes: int = RESULT_BYTES
) -> FunctionOutcome:
    """Read what a function returned and what it did to the context variables.

    The function has run, and what it did outside is done: so nothing is refused here as a whole. What cannot be kept
    or followed is left out, and the model is told.

    Args:
        value: What it returned.
        before: The context variables before the call.
        after: The dictionary the function was given, with its changes.
        max_bytes: What the model is given of its text at most.
    """
    agent: Agent | None = None
    waits: WaitForAnswer | None = None
    output: Content
    problems: list[str] = []
    context: dict[Any, Any] = dict(after)
    if is_a(value, WaitForAnswer):
        waits = value
        output = clean_text(bounded_text(value.question, max_bytes, "question"))
    elif is_a(value, AgentExecuteFnResult):
        agent, output = _handed_over(value.agent, value.output, problems)
        context |= _given_context(value.context_variables, problems)
    else:
        agent, output = _handed_over(*_agent_and_rest(value), problems)
    if agent is not None and not output:
        output = clean_text(f"Transferred to '{_name_of(agent)}'")
    output = bounded_content(output, max_bytes)
    kept = _kept_context(before, context, problems)
    return FunctionOutcome(
        output=_with_problems(output, problems[:_MOST_PROBLEMS]),
        agent=agent,
        context_set={key: new for key, new in kept.items() if key not in before or not _is_same(before[key], new)},
        context_deleted=tuple(key for key in before if key not in context),
        waits=waits,
    )


def _with_problems(output: Content, problems: list[str]) -> Content:
    """What the model gets, and below it what could not be done."""
    if isinstance(output, str):
        return "\n".join([*([output] if output or not problems else []), *problems])
    return (*output, *(TextPart(text=problem) for problem in problems))


def _agent_and_rest(value: Any) -> tuple[Any, Any]:
    """Who is handed over to and what is told, of a value that may be an agent, `[agent]` or `(agent, "text")`."""
    if is_a(value, Agent):
        return value, None
    if is_a(value, list) or is_a(value, tuple):
        agents = [item for item in value if is_a(item, Agent)]
        rest = [item for item in value if not is_a(item, Agent)]
        if len(agents) == 1 and (not rest or (len(rest) == 1 and isinstance(rest[0], str | ImagePart | FilePart))):
            return agents[0], rest[0] if rest else None
    return None, value if value is not None else "None"


def _handed_over(agent: Any, output: Any, problems: list[str]) -> tuple[Agent | None, Content]:
    """An agent and an output that can be used; what cannot is told, and an agent's fields never are."""
    held = _agent_in(output)
    if held is not None:
        problems.append(
            f"TypeError: nothing was handed over, because the function returned {held}. {_HOW_TO_HAND_OVER}"
        )
        return None, ""
    told = result_content(output) if output is not None else ""
    if agent is None or is_a(agent, Agent):
        return agent, told
    problems.append(
        f"TypeError: nothing was handed over, because `agent` of an AgentExecuteFnResult was {type(agent).__name__}, "
        "which is no agent."
    )
    return None, told


def _agent_in(value: Any, depth: int = 0, seen: dict[int, Any] | None = None) -> str | None:
    """What to call an agent, or a class of agents, that is somewhere in a value; None if there is none.

    Each object is looked at once, however many ways lead to it.
    """
    if is_a(value, Agent):
        return f"the agent {_name_of(value)!r} within another value"
    if is_a(value, type):
        return f"the class {value.__name__} instead of an agent" if issubclass(value, Agent) else None
    seen = {} if seen is None else seen
    if depth > _DEEPEST_LOOK or id(value) in seen:
        return None
    seen[id(value)] = value  # held, so that its id cannot pass to another object meanwhile
    return next((found for item in _held_by(value) if (found := _agent_in(item, depth + 1, seen)) is not None), None)


def _held_by(value: Any) -> Iterable[Any]:
    """What a value is made of, where it is told by its parts."""
    if is_a(value, Enum):
        return (value.value,)
    if is_a(value, Mapping):
        return value.values()
    if is_a(value, BaseModel) or hasattr(type(value), "__dataclass_fields__"):
        names = getattr(type(value), "__dataclass_fields__", {})
        return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in names)]
    return value if issubclass(type(value), _COLLECTIONS) else ()


def _name_of(agent: Agent) -> str:
    return str(getattr(agent, "name", ""))


def _given_context(given: Any, problems: list[str]) -> dict[Any, Any]:
    if given is None or is_a(given, Mapping):
        return dict(given or {})
    problems.append(
        f"InvalidContext: `context_variables` of an AgentExecuteFnResult must be a dictionary, not "
        f"{type(given).__name__}; they were not kept."
    )
    return {}


def _kept_context(before: Mapping[str, Any], after: Mapping[Any, Any], problems: list[str]) -> dict[str, JsonValue]:
    """The context variables as JSON; what JSON cannot hold stays as it was before."""
    kept: dict[str, JsonValue] = {}
    for key, value in after.items():
        try:
            kept |= read_context({key: value})
        except BaseException as error:  # noqa: BLE001  (what a function leaves there may raise anything)
            text = str(error) if type(error) is InvalidContext else f"The value at {key!r:.60} could not be read."
            problems.append(f"InvalidContext: {text} The function ran to its end; only this change was not kept.")
            if key in before:
                kept[key] = before[key]
    return kept


def result_content(value: Any) -> Content:
    """A returned value as the model gets it: what it shows, or its text."""
    seen = shown(value, result_text)
    return result_text(value) if seen is None else seen


def result_text(value: Any) -> str:
    """A returned value as text: structures as JSON where JSON can hold them, everything else as `str` puts it.

    Raises nothing: a value that has no text is named by its class.
    """
    try:
        if isinstance(value, Enum):
            value = value.value
        is_structure = isinstance(value, Mapping | list | tuple | set | frozenset | BaseModel) or (
            is_dataclass(value) and not isinstance(value, type)
        )
        if is_structure:
            with contextlib.suppress(PydanticSerializationError, ValueError, TypeError, RecursionError):
                return clean_text(_as_json(value))
        return clean_text(str.__str__(str(value)))
    except BaseException as error:  # noqa: BLE001  (asking an object for its text runs its code)
        return f"(a {type(value).__name__} that has no text: asked for one, it raised {type(error).__name__})"


def _as_json(value: Any) -> str:
    """A structure as JSON. A large one is written in pieces: the quick way would keep all other threads waiting."""
    if weighs_more(value, _HEAVY_BYTES):
        encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=to_jsonable_python)
        with contextlib.suppress(TypeError):  # keys that only pydantic can turn into text
            return "".join(encoder.iterencode(value))
    return json.dumps(to_jsonable_python(value), ensure_ascii=False, allow_nan=False)


def is_a(value: Any, kind: type) -> bool:
    """`isinstance` of an object that may lie about its class, or raise when it is asked."""
    return issubclass(type(value), kind)


def instructions_call(
    fn: Callable[..., Any], context_variables: dict[str, Any], tool_context: ToolContext | None = None
) -> Callable[[], Any]:
    """The call that has a callable write instructions.

    It gets the context variables if it has a parameter of that name, or one required positional parameter; and what
    it can know about its run in parameters annotated with `ToolContext`.

    Raises:
        InvalidAgent: It asks for parameters that nobody can fill.
    """
    arguments, keywords = _instruction_arguments(fn, name_of_writer(fn), context_variables, tool_context)
    return functools.partial(fn, *arguments, **keywords)


def read_instructions(fn: Callable[..., Any], value: Any) -> str:
    """The text that a callable wrote; None is no instructions.

    Raises:
        TypeError: It returned something else.
    """
    if value is None:
        return ""
    if not is_a(value, str):
        raise TypeError(
            f"The instructions {name_of_writer(fn)!r} returned {type(value).__name__}, which is not supported: return "
            "text, or None for no instructions."
        )
    return clean_text(str.__str__(value))


def check_instructions(fn: Callable[..., Any]) -> None:
    """Refuse a callable that no run could have write instructions.

    Raises:
        InvalidAgent: It asks for parameters that nobody can fill, or cannot be asked what it takes.
    """
    try:
        _instruction_arguments(fn, name_of_writer(fn), {}, None)
        target = inspect.unwrap(fn)
        pieces = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
    except InvalidAgent:
        raise
    except BaseException as error:  # noqa: BLE001  (a callable is an object of whatever class)
        raise InvalidAgent(f"{kind_of(fn)} cannot be read: {reason_of(error)}. Write a plain function.") from None
    if pieces:
        raise InvalidAgent(f"{name_of_writer(fn)!r} yields pieces; return the whole text.")


def name_of_writer(fn: Callable[..., Any]) -> str:
    """What to call a callable that writes instructions."""
    try:
        name = getattr(fn, "__name__", None)
    except BaseException:  # noqa: BLE001  (a property like any other)
        name = None
    return name if type(name) is str else kind_of(fn)


def _instruction_arguments(
    fn: Callable[..., Any], name: str, context_variables: dict[str, Any], tool_context: ToolContext | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        parameters = signature_of(fn).parameters
    except ValueError:  # a builtin that does not tell what it takes
        return (), {}
    told = {key: tool_context for key, p in parameters.items() if is_tool_context(p.annotation)}
    required = [key for key, p in parameters.items() if p.default is p.empty and p.kind not in _VARIADIC]
    required = [key for key in required if key not in told]
    named = parameters.get(CONTEXT_PARAMETER) if CONTEXT_PARAMETER not in told else None
    given: dict[str, Any] = {}
    if named is not None and named.kind not in _VARIADIC:
        required = [key for key in required if key != CONTEXT_PARAMETER]
        given = {CONTEXT_PARAMETER: context_variables}
    elif len(required) == 1 and parameters[required[0]].kind in _POSITIONAL:
        given, required = {required[0]: context_variables}, []
    if required:
        raise InvalidAgent(
            f"The instructions {name!r} ask for {', '.join(map(repr, required))}; only {CONTEXT_PARAMETER!r} and "
            "parameters annotated with ToolContext are passed."
        )
    given |= told
    first = [key for key, p in parameters.items() if p.kind is p.POSITIONAL_ONLY and key in given]
    return tuple(given.pop(key) for key in first), given


def _is_same(before: Any, new: JsonValue) -> bool:
    """Whether two JSON values are the same, with true and 1, and 1 and 1.0, being different."""
    if isinstance(before, list | tuple) and isinstance(new, list):
        return len(before) == len(new) and all(map(_is_same, before, new))
    if isinstance(before, Mapping) and isinstance(new, dict):
        return before.keys() == new.keys() and all(_is_same(before[key], new[key]) for key in new)
    return type(before) is type(new) and before == new
