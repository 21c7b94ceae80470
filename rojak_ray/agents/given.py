"""What an agent may be made of: every refusal names the agent, the field and what to write instead.

Checked whenever an agent enters, not when it is made: its fields may be set at any time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any, cast

from rojak_ray.agents.agent import Agent, AgentInstructionOptions, AnthropicAgent, OpenAIAgent
from rojak_ray.agents.instructions import check_instructions
from rojak_ray.agents.request_fields import fault_in_config
from rojak_ray.agents.schema import FUNCTION_NAME
from rojak_ray.checks import check_flag, check_list, check_mapping, check_text, is_kind, kind_of, kind_of_class, shown
from rojak_ray.errors import InvalidAgent, InvalidSetting
from rojak_ray.retry import RetryOptions, check_retry_options

_VENDORS = ("openai", "anthropic")
_CHOICES = ("auto", "required", "none", "any", "validated")


def check_agent(agent: object) -> Agent:
    """The agent, if its own fields can be stored and followed; its code, retrievers and data are looked at later.

    Raises:
        InvalidAgent: The text names the agent and the field.
    """
    if not is_kind(agent, Agent):
        hint = "" if not isinstance(agent, type) else f" Make one: {kind_of_class(agent)}(name=...)."
        raise InvalidAgent(f"The agent must be an Agent (OpenAIAgent, ...), not {shown(agent)}.{hint}")
    given = cast("Agent", agent)
    for name in ("name", "type", "model"):
        check_text(getattr(given, name, None), field_of(given, name), InvalidAgent)
    for name in ("parallel_tool_calls", "reset_tool_choice"):
        check_flag(getattr(given, name, True), field_of(given, name), InvalidAgent)
    _check_retrying(given)
    config: Any = getattr(given, "inference_config", None)
    if config is not None:
        check_mapping(config, field_of(given, "inference_config"), InvalidAgent)
    speaks_to_vendor = given.type in _VENDORS or isinstance(given, OpenAIAgent | AnthropicAgent)
    if speaks_to_vendor and (fault := fault_in_config(config)) is not None:
        raise InvalidAgent(f"Agent {given.name!r}: {fault}")
    return given


def check_choice(agent: Agent, functions: Collection[str]) -> None:
    """Refuse a choice of function that no vendor can follow.

    Raises:
        InvalidAgent: It is neither a word, nor the name of one of the agent's functions, nor a vendor's own form.
    """
    choice: Any = agent.tool_choice
    if choice is None or isinstance(choice, Mapping):
        return
    where = field_of(agent, "tool_choice")
    wanted = 'write "auto", "required", "none", the name of one of its functions, or the vendor\'s own form as a dict'
    if not isinstance(choice, str):
        name = getattr(choice, "__name__", None) if inspect.isroutine(choice) else None
        raise InvalidAgent(f"{where} is {shown(choice)}; {f'write its name: {name!r}' if name else wanted}.")
    if choice.lower() in _CHOICES or choice in functions or _brings_tools(agent):
        return
    has = f"it has {', '.join(functions)}" if functions else "it has none"
    raise InvalidAgent(f"{where} is {shown(choice)}, which is no function of the agent ({has}); {wanted}.")


def read_functions(agent: Agent) -> list[Any]:
    """The callables and names that an agent lists.

    Raises:
        InvalidAgent: It is no list, one is neither, or a name is none that a function can have.
    """
    where = field_of(agent, "functions")
    listed = check_list(agent.functions, where, InvalidAgent, "callables and names")
    for index, function in enumerate(listed):
        if isinstance(function, str):
            _check_name(function, f"{where}[{index}]")
        elif not callable(function):
            raise InvalidAgent(f"{where}[{index}] is {shown(function)}, which is neither callable nor a name.")
    return listed


def read_instructions_of(agent: Agent) -> str | Callable[..., Any] | AgentInstructionOptions:
    """Who or what tells an agent how to answer: a text, a callable, or the name of one.

    Raises:
        InvalidAgent: It is something else, or a callable that nobody can call.
    """
    given: Any = agent.instructions
    where = field_of(agent, "instructions")
    if given is None:
        return ""
    if isinstance(given, str):
        return str.__str__(check_text(given, where, InvalidAgent, empty=True))
    if isinstance(given, AgentInstructionOptions):
        return AgentInstructionOptions(name=_check_name(given.name, f"{where}.name"))
    if isinstance(given, Mapping):
        pairs = cast("Mapping[str, Any]", given)
        if pairs.get("type") == "function" and "name" in pairs:
            return AgentInstructionOptions(name=_check_name(pairs["name"], f"{where}['name']"))
    elif callable(given) and not isinstance(given, type):
        try:
            check_instructions(given)
        except InvalidAgent as error:
            raise InvalidAgent(f"{where}: {error}") from error
        return given
    raise InvalidAgent(
        f"{where} must be text, a callable that writes it, AgentInstructionOptions(name=...), "
        f'{{"type": "function", "name": ...}} or None, not {shown(given)}.'
    )


def own_fields(agent: Agent, known: Collection[str]) -> dict[str, Any]:
    """What a subclass adds: its fields, wherever they are kept, and what was set on the agent."""
    kept: dict[str, Any] = dict(getattr(agent, "__dict__", {}))
    kept |= {field.name: getattr(agent, field.name) for field in fields(agent) if hasattr(agent, field.name)}
    return {name: value for name, value in kept.items() if name not in known and name[0] != "_"}


def named(agent: Any) -> str:
    """The name of an agent that could not be read, if that can be."""
    try:
        name = agent.name
    except BaseException:  # noqa: BLE001  (its class runs code of its own)
        return ""
    return f", named {shown(name)}," if type(name) is str else ""


def field_of(agent: Agent, name: str) -> str:
    """How a field is called in the text of an error."""
    return f"{name} of agent {shown(getattr(agent, 'name', None))}"


def _check_retrying(agent: Agent) -> None:
    options: Any = getattr(agent, "retry_options", None)
    if not isinstance(options, RetryOptions):
        hint = " Write RetryOptions(retry_policy=...)." if kind_of(options) == "RetryPolicy" else ""
        raise InvalidAgent(f"{field_of(agent, 'retry_options')} must be RetryOptions, not {shown(options)}.{hint}")
    try:
        check_retry_options(options)
    except InvalidSetting as error:
        raise InvalidAgent(f"{field_of(agent, 'retry_options')} cannot be followed: {error}") from error


def _check_name(given: Any, where: str) -> str:
    """The name of a registered function; raises InvalidAgent for what none can have: it would be waited for."""
    if not isinstance(given, str) or not FUNCTION_NAME.fullmatch(given):
        raise InvalidAgent(
            f"{where} is {shown(given)}, which no function can be named. Write the name under which a worker registers "
            "it (1 to 64 of the characters A-Z, a-z, 0-9, _ and -), or the function itself."
        )
    return str.__str__(given)


def _brings_tools(agent: Agent) -> bool:
    """Whether the request has tools that are no functions of ours, such as a vendor's web search."""
    config: Any = getattr(agent, "inference_config", None)
    pairs = cast("Mapping[str, Any]", config) if isinstance(config, Mapping) else {}
    body: Any = pairs.get("extra_body")
    return bool(pairs.get("tools") or (isinstance(body, Mapping) and cast("Mapping[str, Any]", body).get("tools")))
