"""Calling a user's function, and reading what it returned.

The arguments come from a model and the result goes to one: what is refused here is refused with a text that the model
can act on. Nothing is kept between calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Coroutine,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from rojak_ray.agents.agent import Agent
from rojak_ray.agents.function import ToolContext
from rojak_ray.agents.held import all_within
from rojak_ray.agents.results import AgentExecuteFnResult, WaitForAnswer
from rojak_ray.agents.schema import FunctionDefinition
from rojak_ray.agents.shown import is_part, shown
from rojak_ray.checks import is_kind, kind_of, kind_of_class
from rojak_ray.checks import shown as shown_short
from rojak_ray.concurrency import Breath
from rojak_ray.errors import InvalidContext
from rojak_ray.messages import (
    RESULT_BYTES,
    Content,
    TextPart,
    bounded_content,
    bounded_text,
    clean_text,
    plain_content,
    read_context,
    weighs_more,
)

_MOST_PROBLEMS = 5
_PIECES_AT_ONCE = 512
_HEAVY_BYTES = 1024 * 1024
_HOW_TO_WAIT = "Return WaitForAnswer(...) itself, or AgentExecuteFnResult(output=WaitForAnswer(...))."
_HOW_TO_HAND_OVER = "Return the agent itself, or AgentExecuteFnResult(output=..., agent=...)."


@dataclass(frozen=True)
class Whole:
    """All of a result that the model is given a part of."""

    text: str
    form: Literal["text", "parts"] = "text"
    """A text, or the JSON of a list of texts, images and files."""


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

    whole: Whole | None = None
    """Set if it is to be kept and the output is not all of it."""


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
        TypeError: It is a generator or another iterator, or a coroutine, of which nothing has run yet.
    """
    if is_a(value, Coroutine):
        with contextlib.suppress(BaseException):
            value.close()
        raise TypeError(
            f"{name}() returned a coroutine that nobody awaited, so it did not run: write `return await ...` in an "
            "async function"
        )
    if is_a(value, Awaitable):
        raise TypeError(f"{name}() returned a {kind_of(value)} that nobody awaited: write `return await ...`")
    if is_a(value, Iterator) or is_a(value, AsyncIterator):
        raise TypeError(
            f"{name}() returned a {kind_of(value)}, which is not supported: functions return a whole value, "
            "such as text or a list"
        )
    return value


def read_result(
    value: Any,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    max_bytes: int = RESULT_BYTES,
    *,
    keep: bool = False,
) -> FunctionOutcome:
    """Read what a function returned and what it did to the context variables.

    The function has run, and what it did outside is done: so nothing is refused here as a whole. What cannot be kept
    or followed is left out, and the model is told.

    Args:
        value: What it returned.
        before: The context variables before the call.
        after: The dictionary the function was given, with its changes.
        max_bytes: What the model is given of its text at most.
        keep: Whether the whole of a longer one is wanted.
    """
    agent: Agent | None = None
    waits: WaitForAnswer | None = None
    output: Content
    problems: list[str] = []
    context: dict[Any, Any] = dict(after)
    brought: Any = None
    if is_a(value, AgentExecuteFnResult):
        brought, given, context_given = _fields_of_result(value)
        context |= _given_context(context_given, problems)
        if brought is None and is_a(given, WaitForAnswer):
            value = given
    else:
        brought, given = _agent_and_rest(value)
    if is_a(value, WaitForAnswer):
        waits = value
        output = clean_text(bounded_text(value.question, max_bytes, "question"))
    else:
        agent, output = _handed_over(brought, given, problems)
    if agent is not None and not output:
        output = clean_text(f"Transferred to '{_name_of(agent)}'")
    everything, output = output, bounded_content(output, max_bytes)
    cut = keep and waits is None and everything != output
    kept = _kept_context(before, context, problems)
    return FunctionOutcome(
        output=_with_problems(output, problems[:_MOST_PROBLEMS]),
        agent=agent,
        context_set={key: new for key, new in kept.items() if key not in before or not _is_same(before[key], new)},
        context_deleted=tuple(key for key in before if key not in context),
        waits=waits,
        whole=_whole(everything) if cut else None,
    )


def _fields_of_result(value: Any) -> tuple[Any, Any, Any]:
    """Agent, output and context of an `AgentExecuteFnResult`, whose class may be one of the user's."""
    return tuple(getattr(value, name, None) for name in ("agent", "output", "context_variables"))  # type: ignore[return-value]


def _whole(content: Content) -> Whole:
    if isinstance(content, str):
        return Whole(content)
    return Whole("".join(json.JSONEncoder(ensure_ascii=False).iterencode(plain_content(content))), "parts")


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
        if len(agents) == 1 and (not rest or (len(rest) == 1 and (is_a(rest[0], str) or is_part(rest[0])))):
            return agents[0], rest[0] if rest else None
    return None, value if value is not None else "None"


def _handed_over(agent: Any, output: Any, problems: list[str]) -> tuple[Agent | None, Content]:
    """An agent and an output that can be used; what cannot is told, and an agent's fields never are."""
    held = _misplaced_in(output)
    if held is not None:
        problems.append(held)
        return None, ""
    told = result_content(output) if output is not None else ""
    if agent is None or is_a(agent, Agent):
        return agent, told
    problems.append(
        f"TypeError: nothing was handed over, because `agent` of an AgentExecuteFnResult was {kind_of(agent)}, "
        "which is no agent."
    )
    return None, told


def _misplaced_in(value: Any) -> str | None:
    """The words for what means something only where it is returned alone; None if there is nothing of the kind."""
    for item in all_within(value):
        if is_a(item, Agent):
            return _not_handed_over(f"the agent {_name_of(item)!r} within another value")
        if is_a(item, type) and issubclass(item, Agent):
            return _not_handed_over(f"the class {kind_of_class(item)} instead of an agent")
        if is_a(item, WaitForAnswer) or item is WaitForAnswer:
            where = "the class WaitForAnswer" if item is WaitForAnswer else "a WaitForAnswer within another value"
            return f"TypeError: nothing waits for an answer, because the function returned {where}. {_HOW_TO_WAIT}"
        if is_a(item, Coroutine):
            with contextlib.suppress(BaseException):
                item.close()
            return "TypeError: the function returned a coroutine within another value, which did not run. Await it."
    return None


def _not_handed_over(held: str) -> str:
    return f"TypeError: nothing was handed over, because the function returned {held}. {_HOW_TO_HAND_OVER}"


def _name_of(agent: Agent) -> str:
    try:
        return clean_text(str(getattr(agent, "name", "")))
    except BaseException:  # noqa: BLE001  (an agent is of whatever class)
        return kind_of(agent)


def _given_context(given: Any, problems: list[str]) -> dict[Any, Any]:
    if given is None:
        return {}
    with contextlib.suppress(BaseException):  # a mapping of a class of the user's
        if is_a(given, Mapping):
            return dict(given)
    problems.append(
        f"InvalidContext: `context_variables` of an AgentExecuteFnResult must be a dictionary, not "
        f"{kind_of(given)}; they were not kept."
    )
    return {}


def _kept_context(before: Mapping[str, Any], after: Mapping[Any, Any], problems: list[str]) -> dict[str, JsonValue]:
    """The context variables as JSON; what JSON cannot hold stays as it was before."""
    kept: dict[str, JsonValue] = {}
    for key, value in after.items():
        try:
            kept |= read_context({key: value})
        except BaseException as error:  # noqa: BLE001  (what a function leaves there may raise anything)
            text = str(error) if type(error) is InvalidContext else _unreadable(key)
            problems.append(f"InvalidContext: {text} The function ran to its end; only this change was not kept.")
            if type(key) is str and key in before:
                kept[key] = before[key]
    return kept


def _unreadable(key: Any) -> str:
    return f"The value at {shown_short(key)} could not be read."


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
        if is_structure(value):
            with contextlib.suppress(PydanticSerializationError, ValueError, TypeError, RecursionError):
                return clean_text(json_text(value))
        return clean_text(str.__str__(str(value)))
    except BaseException as error:  # noqa: BLE001  (asking an object for its text runs its code)
        return f"(a {kind_of(value)} that has no text: asked for one, it raised {kind_of(error)})"


def is_structure(value: Any) -> bool:
    """Whether a value is told as JSON."""
    if isinstance(value, Mapping | list | tuple | set | frozenset | BaseModel):
        return True
    return is_dataclass(value) and not isinstance(value, type)


def json_text(value: Any) -> str:
    """A structure as JSON. A large one is written in pieces: the quick way would keep all other threads waiting.

    Raises:
        ValueError, TypeError, RecursionError: JSON cannot hold it. Objects of the user's may raise anything.
    """
    if weighs_more(value, _HEAVY_BYTES):
        encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=to_jsonable_python)
        with contextlib.suppress(TypeError):  # keys that only pydantic can turn into text
            lots = Breath().over(encoder.iterencode(value), _PIECES_AT_ONCE)
            return "".join(map("".join, lots))
    return json.dumps(to_jsonable_python(value), ensure_ascii=False, allow_nan=False)


def is_a(value: Any, kind: type) -> bool:
    """`isinstance` of an object that may lie about its class, or raise when it is asked."""
    return is_kind(value, kind)


def _is_same(before: Any, new: JsonValue) -> bool:
    """Whether two JSON values are the same, with true and 1, and 1 and 1.0, being different."""
    if isinstance(before, list | tuple) and isinstance(new, list):
        return len(before) == len(new) and all(map(_is_same, before, new))
    if isinstance(before, Mapping) and isinstance(new, dict):
        return before.keys() == new.keys() and all(_is_same(before[key], new[key]) for key in new)
    return type(before) is type(new) and before == new
